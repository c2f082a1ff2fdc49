mod calls;
mod hostile;

use super::{Fault, FaultKind, Pickle, read};
use crate::Dtype;
use crate::format::torch::ReadOptions;
use crate::tensor::{ArrayData, Body, MapKind, Node, NodeId, Tensor, Tree, WalkError};

fn run(bytes: impl AsRef<[u8]>) -> Pickle {
    let bytes = bytes.as_ref();
    read(bytes, &ReadOptions::default()).unwrap_or_else(|fault| panic!("{}: {fault}", bytes.escape_ascii()))
}

/// Returns the one value that the pickle gives.
fn root(bytes: impl AsRef<[u8]>) -> Node {
    let tree = run(bytes).tree;
    tree.node(tree.root()).clone()
}

fn fault(bytes: impl AsRef<[u8]>) -> Fault {
    let bytes = bytes.as_ref();
    match read(bytes, &ReadOptions::default()) {
        Err(fault) => fault,
        Ok(pickle) => panic!("{}: {:?}", bytes.escape_ascii(), pickle.tree),
    }
}

/// Asserts that the pickle is refused as `kind`, with a message that tells `word`.
#[track_caller]
fn refuses(bytes: impl AsRef<[u8]>, kind: FaultKind, word: &str) -> Fault {
    let fault = fault(bytes);
    assert_eq!(fault.kind, kind, "{fault}");
    assert!(fault.message.contains(word), "'{word}' isn't in '{fault}'");
    fault
}

/// Prints a value with all that is in it, to compare it as a whole.
fn show(tree: &Tree, id: NodeId) -> String {
    let list = |items: &[NodeId]| items.iter().map(|&item| show(tree, item)).collect::<Vec<_>>().join(",");
    match tree.node(id) {
        Node::None => "None".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Int(value) => value.to_string(),
        Node::Float(value) => format!("{value:?}"),
        Node::Text(text) => format!("'{text}'"),
        Node::Bytes(bytes) => format!("b'{}'", bytes.escape_ascii()),
        Node::ByteArray(bytes) => format!("a'{}'", bytes.escape_ascii()),
        Node::List(items) => format!("[{}]", list(items)),
        Node::Tuple(items) => format!("({})", list(items)),
        Node::Set(items) => format!("set({})", list(items)),
        Node::FrozenSet(items) => format!("frozenset({})", list(items)),
        Node::Map(kind, map) => {
            let entries = map.iter().flat_map(|map| &map.entries);
            let entries: Vec<_> =
                entries.map(|&(key, value)| format!("{}:{}", show(tree, key), show(tree, value))).collect();
            let kind = if *kind == MapKind::Dict { String::new() } else { format!("{kind:?}") };
            format!("{kind}{{{}}}", entries.join(","))
        }
        Node::Object(object) => format!(
            "{}{}state={:?}items=[{}]",
            object.global,
            show(tree, object.arguments),
            object.state.map(|state| show(tree, state)),
            list(&object.items)
        ),
        other => format!("{other:?}"),
    }
}

fn shown(bytes: impl AsRef<[u8]>) -> String {
    let tree = run(bytes).tree;
    show(&tree, tree.root())
}

fn tensor(bytes: impl AsRef<[u8]>) -> Tensor {
    match root(bytes) {
        Node::Tensor(tensor) => *tensor,
        other => panic!("{other:?}"),
    }
}

// Every opcode.

#[test]
fn opcodes_of_protocol_0() {
    for (text, value) in [
        ("N.", "None"),
        ("I42\n.", "42"),
        ("I-7\n.", "-7"),
        ("I00\n.", "false"),
        ("I01\n.", "true"),
        ("L12L\n.", "12"),
        ("F1.5\n.", "1.5"),
        ("Finf\n.", "inf"),
        ("F-1e3\n.", "-1000.0"),
        ("S'it\\'s'\n.", "'it's'"),
        ("S\"a\\x41\"\n.", "'aA'"),
        ("Vz\\u00fc\n.", "'zü'"),
        ("(t.", "()"),
        ("(I1\nI2\nt.", "(1,2)"),
        ("(l.", "[]"),
        ("(lI1\na.", "[1]"),
        ("(I1\nI2\nl.", "[1,2]"),
        ("(d.", "{}"),
        ("(S'a'\nI1\nd.", "{'a':1}"),
        ("(dS'a'\nI1\ns.", "{'a':1}"),
        ("I1\np5\n0g5\n.", "1"),
        ("I1\n0I2\n.", "2"),
        ("I1\n(0.", "1"),
        ("(I1\nI2\n1I3\n.", "3"),
    ] {
        assert_eq!(shown(text), value, "{text}");
    }
    refuses("(.", FaultKind::Invalid, "empty");
}

#[test]
fn opcodes_of_protocols_1_to_3() {
    for (bytes, value) in [
        (&b"J\xff\xff\xff\xff."[..], "-1"),
        (b"K\xff.", "255"),
        (b"M\x00\xff.", "65280"),
        (b"G\x3f\xf8\0\0\0\0\0\0.", "1.5"),
        (b"T\x02\0\0\0ab.", "'ab'"),
        (b"U\x02ab.", "'ab'"),
        (b"X\x02\0\0\0\xc3\xbc.", "'ü'"),
        (b"].", "[]"),
        (b"](K\x01K\x02e.", "[1,2]"),
        (b"}.", "{}"),
        (b"}(K\x01NK\x02Nu.", "{1:None,2:None}"),
        (b"}(u.", "{}"),
        (b").", "()"),
        (b"K\x01q\x000h\x00.", "1"),
        (b"K\x01r\x00\x01\0\x000j\x00\x01\0\0.", "1"),
        (b"K\x012\x86.", "(1,1)"),
        (b"\x80\x02K\x01\x85.", "(1)"),
        (b"K\x01K\x02K\x03\x87.", "(1,2,3)"),
        (b"\x88.", "true"),
        (b"\x89.", "false"),
        (b"\x8a\x00.", "0"),
        (b"\x8a\x01\xff.", "-1"),
        (b"\x8b\x02\0\0\0\xff\x00.", "255"),
        (b"B\x02\0\0\0\x00\xff.", "b'\\x00\\xff'"),
        (b"C\x01a.", "b'a'"),
    ] {
        assert_eq!(shown(bytes), value, "{}", bytes.escape_ascii());
    }
}

#[test]
fn opcodes_of_protocols_4_and_5() {
    for (bytes, value) in [
        (&b"\x80\x04\x95\x02\0\0\0\0\0\0\0K\x01."[..], "1"),
        (b"\x8c\x02ab.", "'ab'"),
        (b"\x8d\x02\0\0\0\0\0\0\0ab.", "'ab'"),
        (b"\x8e\x02\0\0\0\0\0\0\0ab.", "b'ab'"),
        (b"\x8f.", "set()"),
        (b"\x8f(K\x01K\x02K\x01\x90.", "set(1,2)"),
        (b"(K\x01K\x01\x91.", "frozenset(1)"),
        (b"K\x01\x94K\x02\x940h\x00\x86.", "(1,1)"),
        (b"\x80\x05\x96\x02\0\0\0\0\0\0\0ab.", "a'ab'"),
        (b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R.", "OrderedDict{}"),
        (b"ccollections\nOrderedDict\n)\x81.", "OrderedDict{}"),
        (b"ccollections\nOrderedDict\n)}\x92.", "OrderedDict{}"),
    ] {
        assert_eq!(shown(bytes), value, "{}", bytes.escape_ascii());
    }
}

#[test]
fn old_ways_to_make_objects() {
    assert_eq!(shown("(icollections\nOrderedDict\n."), "OrderedDict{}");
    assert_eq!(shown("(ccollections\nOrderedDict\no."), "OrderedDict{}");
    refuses("(o.", FaultKind::Invalid, "without a class");
    let pickle = run("(I1\nimodels\nNet\n(S'w'\nI2\ndb.");
    assert_eq!(show(&pickle.tree, pickle.tree.root()), "models.Net(1)state=Some(\"{'w':2}\")items=[]");
    assert_eq!(pickle.unknown_globals, ["models.Net"]);
}

#[test]
fn the_pickle_ends_at_its_stop() {
    let pickle = run(b"K\x01.K\x02.");
    assert_eq!(pickle.bytes, 3);
}

#[test]
fn what_pytorch_refuses_is_named() {
    assert_eq!(run(b"\x80\x02}q\x00K\x01\x88s.").beyond_torch, None);
    assert_eq!(run("I1\n.").beyond_torch.unwrap(), "the opcode Int of another pickle protocol");
    assert_eq!(run(b"cbuiltins\nfrozenset\n)R.").beyond_torch.unwrap(), "the global 'builtins.frozenset'");
    assert_eq!(run(b"U\x01\xff.").beyond_torch.unwrap(), "a byte string that is no UTF-8");
}

#[test]
fn a_large_integer_keeps_every_bit() {
    assert_eq!(root(b"\x8a\x09\0\0\0\0\0\0\0\0\x01."), Node::BigInt([0, 0, 0, 0, 0, 0, 0, 0, 1].into()));
}

#[test]
fn a_lone_surrogate_is_kept() {
    assert_eq!(root(b"X\x03\0\0\0\xed\xa0\x80."), Node::SurrogateText([0xed, 0xa0, 0x80].into()));
}

// What is malformed.

#[test]
fn bytes_that_end_early_are_truncated() {
    for bytes in [
        &b""[..],
        b"K",
        b"M\x00",
        b"J\0\0\0",
        b"G\0\0\0\0\0\0\0",
        b"N",
        b"I12",
        b"cos\nsystem",
        b"\x80",
        b"h",
        b"j\0\0\0",
        b"\x95\0\0\0\0\0\0\0",
        b"X\x05\0\0",
        b"X\x05\0\0\0abcd",
        b"X\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\0\0\0\0\0\0\0\x80",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x8a\xff\x01",
        b"\x8b\xff\xff\xff\x7f\x01",
        b"B\xff\xff\xff\xff",
        b"T\xff\xff\xff\xff",
    ] {
        let fault = refuses(bytes, FaultKind::Truncated, "the pickle ends within");
        assert!(fault.offset <= bytes.len() as u64);
    }
}

#[test]
fn a_fault_has_its_place() {
    assert_eq!(fault(b"K\x01K\x02\xff").offset, 4);
    assert_eq!(fault(b"\x80\x02h\x07.").offset, 2);
    assert_eq!(fault(b"K\x01K\x02").offset, 4);
}

#[test]
fn opcodes_without_what_they_need() {
    for bytes in [
        &b"."[..],
        b"0",
        b"2.",
        b"\x85.",
        b"K\x01\x86.",
        b"K\x01K\x01\x87.",
        b"p0\n",
        b"q\x00",
        b"\x94",
        b"a",
        b"Na",
        b"](a.",
        b"K\x01(s.",
        b"}K\x01s.",
        b"R",
        b"NR",
        b"b",
        b"}b",
        b"Q.",
        b"\x93",
        b"N\x93",
        b"N(\x85.",
        b"N(.",
    ] {
        let fault = fault(bytes);
        assert_eq!(fault.kind, FaultKind::Invalid, "{}", bytes.escape_ascii());
        assert!(fault.message.starts_with("an opcode finds"), "{}: {fault}", bytes.escape_ascii());
    }
    for bytes in [&b"t"[..], b"l", b"d", b"1", b"}u", b"]e", b"\x8f\x90", b"\x91", b"o", b"iA\nB\n"] {
        refuses(bytes, FaultKind::Invalid, "no mark");
    }
}

#[test]
fn arguments_of_the_wrong_form() {
    let cases: [(&[u8], &str); 22] = [
        (b"\x06.", "no pickle opcode"),
        (b"Ix\n.", "malformed"),
        (b"Lx\n.", "malformed"),
        (b"Fx\n.", "malformed"),
        (b"Sx\n.", "quotes"),
        (b"V\\u12\n.", "escape"),
        (b"X\x01\0\0\0\xff.", "UTF-8"),
        (b"c\xff\nx\n.", "UTF-8"),
        (b"g1\n.", "never written"),
        (b"h\x00.", "never written"),
        (b"j\xff\xff\xff\xff.", "never written"),
        (b"gx\n.", "memo index"),
        (b"Np-1\n.", "memo index"),
        (b"(S'a'\nd.", "a key without a value"),
        (b"}(Nu.", "a key without a value"),
        (b"}(NNNu.", "a key without a value"),
        (b"N(Ne.", "Appends on a value of type NoneType"),
        (b"]NNs.", "SetItem on a value of type list"),
        (b"](N\x90.", "AddItems on a value of type list"),
        (b"N)R.", "a call of a value of type NoneType"),
        (b"ccollections\nOrderedDict\nNR.", "no tuple"),
        (b"}}b.", "a state for a value of type dict"),
    ];
    for (bytes, word) in cases {
        refuses(bytes, FaultKind::Invalid, word);
    }
    refuses(b"NN\x93.", FaultKind::Invalid, "a string is needed");
    refuses(b"ccollections\nOrderedDict\n)(NNd\x92.", FaultKind::Invalid, "keyword arguments");
    refuses(b"NQ.", FaultKind::Invalid, "no tuple");
    refuses(b")Q.", FaultKind::Invalid, "no storage");
    refuses(b"P0\n.", FaultKind::Invalid, "persistent id");
}

#[test]
fn what_no_file_can_carry_is_unsupported() {
    for bytes in
        [&b"\x82\x01."[..], b"\x83\x01\0.", b"\x84\x01\0\0\0.", b"\x97.", b"N\x98.", b"P('storage', 1)\n."]
    {
        assert_eq!(fault(bytes).kind, FaultKind::Unsupported, "{}", bytes.escape_ascii());
    }
}

#[test]
fn no_short_bytes_make_it_panic() {
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            let read = read(&[b'(', b'N', b'N', first, second, b'.'], &ReadOptions::default());
            if let Err(fault) = read {
                assert!(fault.offset <= 6);
            }
        }
    }
}

// Keys, as Python compares them.

#[test]
fn of_equal_keys_the_first_stays_with_the_last_value() {
    assert_eq!(shown(b"}(K\x01U\x01aK\x02U\x01bK\x01U\x01cu."), "{1:'c',2:'b'}");
    // 1, True and 1.0 are one key; so are 0, False and 0.0.
    assert_eq!(shown(b"}(K\x01U\x01a\x88U\x01bG\x3f\xf0\0\0\0\0\0\0U\x01cu."), "{1:'c'}");
    assert_eq!(shown(b"}(\x89U\x01aG\x80\0\0\0\0\0\0\0U\x01bu."), "{false:'b'}");
    assert_eq!(shown(b"}(U\x01aK\x01C\x01aK\x02u."), "{'a':1,b'a':2}");
    assert_eq!(shown(b"}(K\x01\x85K\x01\x88\x85K\x02u."), "{(1):2}");
    // A NaN equals nothing, itself in another place included.
    let nan = b"G\x7f\xf8\0\0\0\0\0\0";
    assert_eq!(shown([b"}(", &nan[..], b"K\x01", nan, b"K\x02u."].concat()), "{NaN:1,NaN:2}");
    assert_eq!(shown(b"(K\x01\x88K\x02\x91."), "frozenset(1,2)");
}

#[test]
fn what_cannot_be_hashed_is_no_key() {
    for (key, name) in [
        (&b"]"[..], "list"),
        (b"}", "dict"),
        (b"\x8f", "set"),
        (b"\x96\0\0\0\0\0\0\0\0", "bytearray"),
        (b"]\x85", "list"),
    ] {
        refuses([b"}", key, b"Ns."].concat(), FaultKind::Invalid, name);
        refuses([b"\x8f(", key, b"\x90."].concat(), FaultKind::Invalid, name);
    }
    let deep = [b"})".to_vec(), vec![0x85; 20], b"Ns.".to_vec()].concat();
    refuses(deep, FaultKind::TooComplex, "nested tuple");
}

// What a hostile pickle may cost.

#[test]
fn a_message_shows_names_safely() {
    let text = [b"c".to_vec(), vec![b'\x1b'; 10_000], b"\nx\n(Nl\x85b.".to_vec()].concat();
    let fault = fault(text);
    assert!(!fault.message.contains('\u{1b}'), "{fault}");
    let storage = |elements: u8| {
        let name = long_text(5_000);
        [b"(U\x07storagectorch\nFloatStorage\n", &name[..], b"U\x03cpuK", &[elements], b"tQ"].concat()
    };
    let fault = refuses([storage(1), storage(2)].concat(), FaultKind::Tensor, "storage 'xxx");
    assert!(fault.message.len() < 500, "{}", fault.message.len());
}

// Names.

#[test]
fn unknown_names_are_data_and_are_listed() {
    let pickle = run("cposix\nsystem\n(S'echo'\ntR.");
    assert_eq!(pickle.unknown_globals, ["posix.system"]);
    assert_eq!(show(&pickle.tree, pickle.tree.root()), "posix.system('echo')state=Noneitems=[]");
    let options = ReadOptions::default().with_allowed_globals(["posix.system".to_owned()]);
    let pickle = read(b"cposix\nsystem\n(S'echo'\ntR.", &options).unwrap();
    assert!(pickle.unknown_globals.is_empty());
    assert_eq!(pickle.allowed_globals, ["posix.system"]);
}

#[test]
fn a_name_counts_before_the_pickle_breaks_off() {
    let fault = fault("cposix\nsystem\n(S'echo'\ntR\x7f");
    assert_eq!(fault.unknown_globals, ["posix.system"]);
}

#[test]
fn objects_take_items_entries_and_a_state() {
    let text = "cm\nC\n(tR(I1\nI2\ne(S'k'\nI3\nu(S's'\nI4\ndb.";
    let tree = run(text).tree;
    let Node::Object(object) = tree.node(tree.root()) else { panic!("no object") };
    assert_eq!((object.items.len(), object.entries.len()), (2, 1));
    assert_eq!(show(&tree, object.state.unwrap()), "{'s':4}");
    // A known function over an unknown value is unknown itself, and no fault of the file.
    let tree = run("ctorch._utils\n_rebuild_parameter\n(cm\nC\n(tRI01\nNtR.").tree;
    assert!(matches!(tree.node(tree.root()), Node::Object(_)));
}

#[test]
fn a_frame_is_not_longer_than_what_is_there() {
    assert_eq!(fault(b"\x80\x04\x95\x05\0\0\0\0\0\0\0N.").kind, FaultKind::Truncated);
    run(b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.");
}

/// `BINUNICODE` of a string of this many bytes.
fn long_text(bytes: usize) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap().to_le_bytes();
    [b"X", &length[..], &vec![b'x'; bytes]].concat()
}
