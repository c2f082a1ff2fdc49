macro_rules! opcodes {
    ($($(#[$safe:ident])? $name:ident = $byte:literal,)+) => {
        /// The opcodes of protocols 0 to 5.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Opcode { $($name,)+ }

        impl Opcode {
            /// Finds an opcode by its byte; none for a byte of no protocol.
            pub(super) fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$name),)+ _ => None }
            }

            /// Returns the byte that stands for it.
            pub(super) fn byte(self) -> u8 {
                match self { $(Self::$name => $byte,)+ }
            }

            /// Returns the name, for messages.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Returns whether PyTorch's safe reader knows the opcode.
            pub(super) fn in_torch(self) -> bool {
                match self { $(Self::$name => opcodes!(@safe $($safe)?),)+ }
            }
        }
    };
    (@safe torch) => { true };
    (@safe) => { false };
}

opcodes! {
    #[torch] Mark = b'(',
    #[torch] Stop = b'.',
    Pop = b'0',
    PopMark = b'1',
    Dup = b'2',
    Float = b'F',
    Int = b'I',
    #[torch] BinInt = b'J',
    #[torch] BinInt1 = b'K',
    Long = b'L',
    #[torch] BinInt2 = b'M',
    #[torch] None = b'N',
    PersId = b'P',
    #[torch] BinPersId = b'Q',
    #[torch] Reduce = b'R',
    String = b'S',
    BinString = b'T',
    #[torch] ShortBinString = b'U',
    Unicode = b'V',
    #[torch] BinUnicode = b'X',
    #[torch] Append = b'a',
    #[torch] Build = b'b',
    #[torch] Global = b'c',
    Dict = b'd',
    #[torch] EmptyDict = b'}',
    #[torch] Appends = b'e',
    Get = b'g',
    #[torch] BinGet = b'h',
    Inst = b'i',
    #[torch] LongBinGet = b'j',
    List = b'l',
    #[torch] EmptyList = b']',
    Obj = b'o',
    Put = b'p',
    #[torch] BinPut = b'q',
    #[torch] LongBinPut = b'r',
    #[torch] SetItem = b's',
    #[torch] Tuple = b't',
    #[torch] EmptyTuple = b')',
    #[torch] SetItems = b'u',
    #[torch] BinFloat = b'G',
    #[torch] Proto = 0x80,
    #[torch] NewObj = 0x81,
    Ext1 = 0x82,
    Ext2 = 0x83,
    Ext4 = 0x84,
    #[torch] Tuple1 = 0x85,
    #[torch] Tuple2 = 0x86,
    #[torch] Tuple3 = 0x87,
    #[torch] NewTrue = 0x88,
    #[torch] NewFalse = 0x89,
    #[torch] Long1 = 0x8a,
    Long4 = 0x8b,
    BinBytes = b'B',
    ShortBinBytes = b'C',
    ShortBinUnicode = 0x8c,
    BinUnicode8 = 0x8d,
    BinBytes8 = 0x8e,
    #[torch] EmptySet = 0x8f,
    AddItems = 0x90,
    FrozenSet = 0x91,
    NewObjEx = 0x92,
    StackGlobal = 0x93,
    Memoize = 0x94,
    Frame = 0x95,
    ByteArray8 = 0x96,
    NextBuffer = 0x97,
    ReadonlyBuffer = 0x98,
}
