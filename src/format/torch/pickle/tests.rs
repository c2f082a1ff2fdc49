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

/// Returns `head`, then `step` as often as `times`, then `STOP`.
fn repeated(head: &[u8], step: &[u8], times: usize) -> Vec<u8> {
    [head, &step.repeat(times), b"."].concat()
}

/// Makes a pickle whose stack is empty at its end give `None`.
fn then_none(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.pop();
    bytes.extend(b"N.");
    bytes
}

/// `BINUNICODE` of a string of this many bytes.
fn long_text(bytes: usize) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap().to_le_bytes();
    [b"X", &length[..], &vec![b'x'; bytes]].concat()
}

#[track_caller]
fn is_too_complex(bytes: &[u8]) {
    let start = std::time::Instant::now();
    assert_eq!(fault(bytes).kind, FaultKind::TooComplex);
    assert!(start.elapsed().as_secs() < 20, "{:?} for {} bytes", start.elapsed(), bytes.len());
}

#[test]
fn one_list_is_not_copied_by_a_million_calls() {
    let list = repeated(b"](", b"N", 100_000);
    let head = [&list[..list.len() - 1], b"e\x85q\x000cbuiltins\nset\nq\x010"].concat();
    is_too_complex(&repeated(&head, b"h\x01h\x00R0", 100_000));
}

#[test]
fn one_string_is_not_copied_by_a_million_opcodes() {
    let text = long_text(100_000);
    let heads: [(&[u8], &[u8]); 3] = [
        (b"q\x000", b"h\x00h\x00\x930"),
        (b"\x85q\x000cnumpy\ndtype\nq\x010", b"h\x01h\x00R0"),
        (b"\x85q\x000c_codecs\nencode\nq\x010", b"h\x01h\x00R0"),
    ];
    for (head, step) in heads {
        let head = [&text[..], head].concat();
        is_too_complex(&repeated(&head, step, 100_000));
    }
    let dtype = [b"cnumpy\ndtype\n", &text[..], b"\x85RK\x03U\x01<\x86q\x000"].concat();
    is_too_complex(&repeated(&dtype, b"h\x00b", 100_000));
}

#[test]
fn one_long_storage_key_is_not_looked_up_a_million_times() {
    let head = [b"(U\x07storagectorch\nFloatStorage\n", &long_text(100_000)[..], b"U\x03cpuK\x01tq\x000"];
    is_too_complex(&repeated(&head.concat(), b"h\x00Q0", 100_000));
}

#[test]
fn one_long_key_is_not_hashed_in_a_million_maps() {
    let head = [&long_text(1_000_000)[..], b"q\x000"].concat();
    is_too_complex(&then_none(repeated(&head, b"}h\x00Ns0", 100_000)));
    let zeros = repeated(b"ctorch\nSize\n((", b"K\x00", 100_000);
    let head = [&zeros[..zeros.len() - 1], b"ttRq\x000"].concat();
    is_too_complex(&then_none(repeated(&head, b"}h\x00Ns0", 100_000)));
}

/// A tensor of a hundred thousand dimensions, in memo entry 0, and nothing on the stack.
fn wide_tensor() -> Vec<u8> {
    let storage =
        b"ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x01tQK\x00";
    let zeros = [b"(".to_vec(), b"K\x00".repeat(100_000), b"t".to_vec()].concat();
    [&storage[..], &zeros, &zeros, b"tRq\x000"].concat()
}

#[test]
fn one_wide_tensor_is_not_copied_by_a_million_states() {
    let head = [&wide_tensor()[..], b"\x89NN\x87q\x010h\x00"].concat();
    is_too_complex(&repeated(&head, b"h\x01b", 100_000));
}

#[test]
fn one_wide_tensor_is_not_listed_a_million_times() {
    let head = [&wide_tensor()[..], b"]("].concat();
    let mut bytes = repeated(&head, b"h\x00", 100_000);
    bytes.pop();
    bytes.extend(b"e.");
    let mut visited = 0;
    let walked = run(bytes).tree.walk(|_| visited += 1);
    assert!(matches!(walked, Err(WalkError::Expansion(_))), "{walked:?}");
    assert!(visited < 1000, "{visited}");
}

#[test]
fn one_long_map_is_not_searched_by_a_million_tensors() {
    let mut map = b"}(".to_vec();
    for key in 0..50_000_u32 {
        map.extend([b"U\x04", &key.to_be_bytes().map(|byte| byte & 0x7f)[..], b"N"].concat());
    }
    let head = b"uq\x000ctorch._utils\n_rebuild_tensor_v2\nq\x010((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x01tQK\x00))\x89Nh\x00tq\x020";
    is_too_complex(&repeated(&[&map[..], head].concat(), b"h\x01h\x02R0", 100_000));
}

#[test]
fn empty_storages_of_one_name_are_one() {
    let head = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x00tq\x000";
    let bytes = then_none(repeated(head, b"h\x00Q0", 1000));
    assert_eq!(run(bytes).tree.storages().len(), 1);
}

#[test]
fn memo_and_stack_bombs_cost_what_they_weigh() {
    assert_eq!(root(repeated(b"K\x07", b"2", 1_000_000)), Node::Int(7));
    assert_eq!(root(repeated(b"K\x07", b"\x94", 1_000_000)), Node::Int(7));
    refuses(repeated(b"", b"(", 1_000_000), FaultKind::Invalid, "empty");
}

#[test]
fn a_deep_tuple_is_read_and_not_walked() {
    let tree = run(repeated(b")", b"\x85", 1_000_000)).tree;
    assert_eq!(tree.walk(|_| {}), Err(WalkError::Depth(1_000)));
}

#[test]
fn sharing_that_doubles_39_times_is_not_unfolded() {
    let tree = run(repeated(b"N", b"2\x86", 39)).tree;
    assert!(tree.len() < 100);
    assert!(matches!(tree.walk(|_| {}), Err(WalkError::Expansion(_))));
}

#[test]
fn a_map_that_contains_itself_is_read_and_not_walked() {
    let tree = run(b"}q\x00U\x01ah\x00s.").tree;
    assert_eq!(tree.walk(|_| {}), Err(WalkError::Cycle));
    let tree = run(b"]q\x00h\x00a.").tree;
    assert_eq!(tree.walk(|_| {}), Err(WalkError::Cycle));
}

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
fn known_calls_build_what_they_return() {
    for (text, value) in [
        ("ccollections\nOrderedDict\n((lp0\n(S'a'\nI1\nlatR.", "OrderedDict{'a':1}"),
        ("ccollections\nCounter\n((dS'a'\nI1\nstR.", "Counter{'a':1}"),
        ("c__builtin__\nset\n((I1\nI1\nltR.", "set(1)"),
        ("c__builtin__\nfrozenset\n((I1\nltR.", "frozenset(1)"),
        ("c__builtin__\nbytearray\n(S'a'\nS'latin-1'\ntR.", "a'a'"),
        ("c__builtin__\nbytearray\n(tR.", "a''"),
        ("c_codecs\nencode\n(V\\u00ff\nS'latin1'\ntR.", "b'\\xff'"),
        ("c_codecs\nencode\n(Va\ntR.", "b'a'"),
        ("c_codecs\nencode\n(Va\nS'ascii'\ntR.", "b'a'"),
        ("c__builtin__\ncomplex\n(F1.0\nI2\ntR.", "Complex(1.0, 2.0)"),
        ("ctorch\nSize\n((I1\nI2\nttR.", "Size([1, 2])"),
        ("ctorch\nSize\n(tR.", "Size([])"),
        ("ctorch\ndevice\n(S'cuda'\nI1\ntR.", "Device(\"cuda:1\")"),
        ("ctorch\ndevice\n(S'cpu'\ntR.", "Device(\"cpu\")"),
        ("ctorch.serialization\n_get_layout\n(S'torch.strided'\ntR.", "Layout(\"strided\")"),
        ("ctorch\nfloat32\n.", "Dtype(F32)"),
        ("ctorch\nper_tensor_affine\n.", "QScheme(\"per_tensor_affine\")"),
        ("ctorch\nFloatTensor\n.", "Global(\"torch.FloatTensor\")"),
    ] {
        assert_eq!(shown(text), value, "{text}");
    }
    let tree = run("ccollections\nOrderedDict\n(tRS'a'\nI1\ns(S'_metadata'\nI2\ndb.").tree;
    let Node::Map(MapKind::OrderedDict, Some(map)) = tree.node(tree.root()) else { panic!("no map") };
    assert_eq!(show(&tree, map.attributes.unwrap()), "{'_metadata':2}");
}

#[test]
fn known_calls_with_other_arguments_are_invalid() {
    for (text, word) in [
        ("ccollections\nOrderedDict\n(NtR.", "a map made of a value of type NoneType"),
        ("ccollections\nOrderedDict\n(NNtR.", "several arguments"),
        ("ccollections\nOrderedDict\n((NltR.", "isn't pairs"),
        ("ccollections\nOrderedDict\n(((NtltR.", "isn't pairs"),
        ("ccollections\nCounter\n((NltR.", "a map made of a value of type list"),
        ("c__builtin__\nset\n(NtR.", "a set made of"),
        ("c__builtin__\nset\n(NNtR.", "several arguments"),
        ("c__builtin__\nset\n(((lltR.", "a list can't be a key"),
        ("c__builtin__\nbytearray\n(NtR.", "a bytearray made of"),
        ("c__builtin__\nbytearray\n(NNNtR.", "several arguments"),
        ("c_codecs\nencode\n(V\\u0100\nS'latin1'\ntR.", "above 255"),
        ("c_codecs\nencode\n(V\\u00ff\nS'ascii'\ntR.", "encoding 'ascii'"),
        ("c_codecs\nencode\n(Va\nS'rot13'\ntR.", "encoding 'rot13'"),
        ("c_codecs\nencode\n(NtR.", "a string is needed"),
        ("c__builtin__\ncomplex\n(NtR.", "a number is needed"),
        ("c__builtin__\ncomplex\n(tR.", "with 0 arguments"),
        ("ctorch\nSize\n(NtR.", "a tuple is needed"),
        ("ctorch\nSize\n((NttR.", "an integer is needed"),
        ("ctorch\ndevice\n(NtR.", "a string is needed"),
        ("ctorch\ndevice\n(tR.", "with 0 arguments"),
        ("ctorch\nFloatStorage\n(tR.", "takes others"),
        ("ctorch.nn.parameter\nParameter\n(NtR.", "a tensor is needed"),
        ("ctorch._tensor\n_rebuild_from_type_v2\n(NNNNtR.", "by no function"),
        ("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nNNNtR.", "no tuple"),
    ] {
        refuses(text, FaultKind::Invalid, word);
    }
}

#[test]
fn a_tensor_is_not_wrapped_forever() {
    let wrap = "ctorch._tensor\n_rebuild_from_type_v2\n";
    let mut arguments = "(t".to_owned();
    for _ in 0..20 {
        arguments = format!("({wrap}N{arguments}Nt");
    }
    refuses(format!("{wrap}{arguments}R."), FaultKind::TooComplex, "wrapped too often");
}

// Tensors.

/// A persistent id of a storage of ten floats, on the stack.
const STORAGE: &str = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI10\ntQ";

fn v2(offset: &str, size: &str, stride: &str) -> String {
    format!("ctorch._utils\n_rebuild_tensor_v2\n({STORAGE}{offset}{size}{stride}I01\nNtR.")
}

#[test]
fn a_strided_tensor_is_rebuilt() {
    let tensor = tensor(v2("I2\n", "(I2\nI3\nt", "(I3\nI1\nt"));
    assert_eq!(
        (tensor.dtype, tensor.shape.as_slice(), tensor.requires_grad),
        (Dtype::F32, &[2, 3][..], true)
    );
    let Body::Strided { offset, strides, quantizer, .. } = tensor.body else { panic!("{:?}", tensor.body) };
    assert_eq!((offset, strides.as_slice(), quantizer), (2, &[3, 1][..], None));
    let tree = run(v2("I0\n", "(t", "(t")).tree;
    assert_eq!(tree.storages().len(), 1);
    let storage = &tree.storages()[0];
    assert_eq!((storage.key.as_str(), storage.bytes, storage.device.as_str()), ("0", 40, "cpu"));
}

#[test]
fn a_tensor_may_not_leave_its_storage() {
    for (offset, size, stride, word) in [
        ("I0\n", "(I11\nt", "(I1\nt", "reaches outside storage '0' of 40 bytes"),
        ("I5\n", "(I6\nt", "(I1\nt", "reaches outside"),
        ("I0\n", "(I2\nt", "(I10\nt", "reaches outside"),
        ("I11\n", "(t", "(t", "reaches outside"),
        ("I-1\n", "(I1\nt", "(I1\nt", "an offset is -1"),
        ("I0\n", "(I-1\nt", "(I1\nt", "negative"),
        ("I0\n", "(I2\nt", "(I-1\nt", "negative"),
        ("I0\n", "(I2\nI2\nt", "(I1\nt", "2 dimensions have 1 strides"),
        ("I0\n", "(I4294967296\nI4294967296\nt", "(I4294967296\nI4294967296\nt", "overflows"),
        ("I0\n", "(I4294967296\nI4294967296\nt", "(I0\nI0\nt", "more elements than any machine"),
        ("I9223372036854775807\n", "(I1\nt", "(I1\nt", "overflows"),
    ] {
        refuses(v2(offset, size, stride), FaultKind::Tensor, word);
    }
    // Without elements, any offset and stride reach nothing.
    assert!(run(v2("I99\n", "(I0\nt", "(I7\nt")).bytes > 0);
    // Expanded: many elements, one place.
    assert_eq!(tensor(v2("I9\n", "(I1000000\nt", "(I0\nt")).shape, [1_000_000]);
}

#[test]
fn rebuild_functions_check_their_arguments() {
    let utils = |name: &str, arguments: &str| format!("ctorch._utils\n{name}\n({arguments}tR.");
    let plain = v2("I0\n", "(I2\nt", "(I1\nt").trim_end_matches('.').to_owned();
    for (name, arguments, word) in [
        ("_rebuild_tensor", String::new(), "from 0 arguments"),
        ("_rebuild_tensor_v2", STORAGE.to_owned(), "from 1 arguments"),
        ("_rebuild_tensor", "NI0\n(t(t".to_owned(), "without a storage"),
        ("_rebuild_tensor", format!("{STORAGE}N(t(t"), "an integer is needed"),
        ("_rebuild_tensor", format!("{STORAGE}I0\nN(t"), "a tuple is needed"),
        ("_rebuild_tensor_v2", format!("{STORAGE}I0\n(t(tS'x'\nN"), "a truth value"),
        ("_rebuild_tensor_v3", format!("{STORAGE}I0\n(t(tI00\nNN"), "a dtype is needed"),
        ("_rebuild_qtensor", format!("{STORAGE}I0\n(t(tNI00\nN"), "a tuple is needed"),
        ("_rebuild_qtensor", format!("{STORAGE}I0\n(t(t(NtI00\nN"), "without a scheme"),
        ("_rebuild_qtensor", format!("{STORAGE}I0\n(t(t(ctorch\nper_tensor_affine\ntI00\nN"), "of a scheme"),
        ("_rebuild_sparse_tensor", "NN".to_owned(), "without a layout"),
        (
            "_rebuild_sparse_tensor",
            "ctorch.serialization\n_get_layout\n(S'torch.jagged'\ntR(t".to_owned(),
            "no known layout",
        ),
        ("_rebuild_meta_tensor_no_storage", "N(tNI00\n".to_owned(), "a dtype is needed"),
        ("_rebuild_nested_tensor", "NNNN".to_owned(), "a tensor is needed"),
        ("_rebuild_nested_tensor", format!("{plain}NNN"), "a tensor is needed"),
        ("_rebuild_device_tensor_from_numpy", "Nctorch\nfloat32\nNI00\n".to_owned(), "from no array"),
        ("_rebuild_parameter", "NI00\nN".to_owned(), "a tensor is needed"),
        ("_rebuild_wrapper_subclass", String::new(), "from 0 arguments"),
    ] {
        refuses(utils(name, &arguments), FaultKind::Invalid, word);
    }
}

#[test]
fn each_rebuild_function_gives_its_tensor() {
    let utils = |name: &str, arguments: &str| tensor(format!("ctorch._utils\n{name}\n({arguments}tR."));
    let plain = v2("I0\n", "(I2\nt", "(I1\nt").trim_end_matches('.').to_owned();
    let v3 = utils("_rebuild_tensor_v3", &format!("{STORAGE}I0\n(I3\nt(I1\ntI00\nNctorch\nuint16\n"));
    assert_eq!((v3.dtype, v3.shape.as_slice()), (Dtype::U16, &[3][..]));
    let lazy = utils(
        "_rebuild_tensor_v3",
        &format!("{STORAGE}I0\n(t(tI00\nNctorch\ncomplex64\n(dS'conj'\nI01\nsS'neg'\nI01\ns"),
    );
    assert!(lazy.conjugated && lazy.negated);
    let parameter = utils("_rebuild_parameter", &format!("{plain}I01\nN"));
    assert!(parameter.parameter && parameter.requires_grad);
    let meta = utils("_rebuild_meta_tensor_no_storage", "ctorch\nfloat16\n(I7\ntNI00\n");
    assert_eq!((meta.dtype, meta.shape.as_slice(), meta.body), (Dtype::F16, &[7][..], Body::Meta));
    let layout = "ctorch.serialization\n_get_layout\n(S'torch.sparse_csr'\ntR";
    let sparse = utils("_rebuild_sparse_tensor", &format!("{layout}({plain}{plain}{plain}(I2\nI2\ntt"));
    let Body::Sparse { parts, .. } = &sparse.body else { panic!("{:?}", sparse.body) };
    let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["crow_indices", "col_indices", "values"]);
    assert_eq!(sparse.shape, [2, 2]);
    let nested = utils("_rebuild_nested_tensor", &plain.repeat(4));
    assert!(matches!(nested.body, Body::Nested { .. }));
    let cast = utils("_rebuild_device_tensor_from_cpu_tensor", &format!("{plain}ctorch\nfloat64\nNI01\n"));
    assert_eq!((cast.dtype, cast.shape.as_slice(), cast.requires_grad), (Dtype::F64, &[2][..], true));
}

#[test]
fn quantized_channels_fit_the_axis() {
    let with = |count: usize, axis: &str| {
        let scales = format!("({}l", "F1.0\n".repeat(count));
        let quantizer = format!("(ctorch\nper_channel_affine\n{scales}{scales}I{axis}\nt");
        format!(
            "ctorch._utils\n_rebuild_qtensor\n((S'storage'\nctorch\nQInt8Storage\nS'q'\nS'cpu'\nI6\ntQI0\n(I2\nI3\nt(I3\nI1\nt{quantizer}I00\nNtR."
        )
    };
    assert_eq!(tensor(with(3, "1")).dtype, Dtype::QI8);
    refuses(with(2, "1"), FaultKind::Tensor, "2 scales for 3 channels");
    refuses(with(2, "2"), FaultKind::Tensor, "none of its dimensions");
    refuses(with(2, "-1"), FaultKind::Tensor, "-1");
}

#[test]
fn tensors_of_the_first_versions_get_their_state() {
    let old = tensor(format!("ctorch\nFloatTensor\n(tR({STORAGE}I1\n(I2\nt(I1\nttb."));
    assert_eq!(old.shape, [2]);
    let inner = v2("I0\n", "(I2\nt", "(I1\nt").trim_end_matches('.').to_owned();
    let parameter = tensor(format!("ctorch.nn.parameter\nParameter\n(tR({inner}NNI01\nNtb."));
    assert!(parameter.parameter && parameter.requires_grad);
    let flagged = tensor(format!("{inner}(I00\nNNtb."));
    assert!(!flagged.requires_grad);
    refuses(format!("{inner}(NNtb."), FaultKind::Invalid, "no known form");
    refuses(format!("{inner}Nb."), FaultKind::Invalid, "a tuple is needed");
    refuses(
        format!("ctorch\nFloatTensor\n(tR({STORAGE}I9\n(I2\nt(I1\nttb."),
        FaultKind::Tensor,
        "reaches outside",
    );
}

#[test]
fn one_storage_has_one_type_and_size() {
    let storage =
        |class: &str, length: u32| format!("(S'storage'\nctorch\n{class}\nS'0'\nS'cpu'\nI{length}\ntQ");
    let both = |a: &str, b: &str| format!("({a}{b}t.");
    let same = run(both(&storage("FloatStorage", 2), &storage("FloatStorage", 2))).tree;
    assert_eq!(same.storages().len(), 1);
    for other in [storage("LongStorage", 1), storage("IntStorage", 2), storage("FloatStorage", 3)] {
        refuses(both(&storage("FloatStorage", 2), &other), FaultKind::Tensor, "storage '0' is used with two");
    }
    // Empty ones have nothing to confuse.
    assert_eq!(run(both(&storage("FloatStorage", 0), &storage("LongStorage", 0))).tree.storages().len(), 2);
    refuses(both(&storage("FloatStorage", 0), &storage("LongStorage", 1)), FaultKind::Tensor, "two types");
}

#[test]
fn persistent_ids_are_checked() {
    for (text, kind, word) in [
        ("(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI-1\ntQ.", FaultKind::Tensor, "-1"),
        (
            "(S'storage'\nctorch\nDoubleStorage\nS'0'\nS'cpu'\nI9223372036854775807\ntQ.",
            FaultKind::Tensor,
            "too large for any machine",
        ),
        ("(S'storage'\nctorch\nSize\nS'0'\nS'cpu'\nI1\ntQ.", FaultKind::Invalid, "no known class"),
        ("(S'storage'\nNS'0'\nS'cpu'\nI1\ntQ.", FaultKind::Invalid, "no known class"),
        ("(S'storage'\nctorch\nFloatStorage\n)S'cpu'\nI1\ntQ.", FaultKind::Invalid, "a string is needed"),
        ("(S'storage'\nctorch\nFloatStorage\nS'0'\n)I1\ntQ.", FaultKind::Invalid, "device is no string"),
        ("(S'other'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI1\ntQ.", FaultKind::Invalid, "no storage"),
        ("(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nNtQ.", FaultKind::Invalid, "an integer"),
    ] {
        refuses(text, kind, word);
    }
}

fn view(key: &str, name: &str, offset: i64, length: i64) -> String {
    let whole = format!("(S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'cpu'\nI10\n");
    format!("{whole}(S'{name}'\nI{offset}\nI{length}\nttQ")
}

#[test]
fn old_views_stay_within_their_storage() {
    let tree = run(format!("{}.", view("0", "v", 4, 6))).tree;
    let part = &tree.storages()[1];
    assert_eq!((part.bytes, part.part_of.unwrap().1), (24, 16));
    assert_eq!(tree.storages()[0].bytes, 40);
    refuses(format!("{}.", view("0", "v", 5, 6)), FaultKind::Tensor, "a view reaches past");
    refuses(format!("{}.", view("0", "v", -1, 6)), FaultKind::Tensor, "-1");
    refuses(format!("{}.", view("0", "v", i64::MAX, 6)), FaultKind::Tensor, "too large");
    let two = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI10\n(I1\nttQ.";
    refuses(two, FaultKind::Invalid, "isn't three values");
}

#[test]
fn a_view_is_not_taken_for_another_or_for_a_storage() {
    let same = run(format!("({}{}t.", view("0", "v", 4, 6), view("0", "v", 4, 6))).tree;
    assert_eq!(same.storages().len(), 2);
    refuses(format!("({}{}t.", view("0", "v", 4, 6), view("0", "v", 4, 5)), FaultKind::Tensor, "as two");
    // A storage whose key looks like a view's.
    let named = "(S'storage'\nctorch\nFloatStorage\nS'v#0'\nS'cpu'\nI1\ntQ";
    let first = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI10\ntQ";
    let tree = run(format!("({first}{named}{}t.", view("0", "v", 4, 6))).tree;
    assert_eq!(tree.storages().len(), 3);
    assert_eq!(tree.storages()[2].bytes, 24);
}

// NumPy.

/// An array's pickle: its dtype's name and byte order, whether fortran, its shape and its data.
fn array(dtype: &str, order: &str, fortran: bool, shape: &str, data: &str) -> String {
    let dtype = format!("cnumpy\ndtype\n(S'{dtype}'\nI00\nI01\ntR(I3\nS'{order}'\nNNNI-1\nI-1\nI0\ntb");
    let fortran = if fortran { "I01\n" } else { "I00\n" };
    let empty = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR";
    format!("{empty}(I1\n({shape}t{dtype}{fortran}{data}tb.")
}

#[test]
fn arrays_are_read_as_data() {
    let Node::Array(read) = root(array("f8", ">", true, "I1\nI2\n", "S'0123456789abcdef'\n")) else {
        panic!("no array")
    };
    assert_eq!(
        (&*read.dtype, read.shape.as_slice(), read.fortran, read.scalar),
        (">f8", &[1, 2][..], true, false)
    );
    assert!(matches!(read.data, ArrayData::Bytes(_)));
    let Node::Array(read) = root(array("O8", "|", false, "I2\n", "(NNl")) else { panic!("no array") };
    assert!(matches!(read.data, ArrayData::Values(_)));
    let scalar = "cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'i2'\nI00\nI01\ntRS'ab'\ntR.";
    let Node::Array(read) = root(scalar) else { panic!("no array") };
    assert_eq!((&*read.dtype, read.scalar), ("i2", true));
    let buffer = "cnumpy._core.numeric\n_frombuffer\n(c_codecs\nencode\n(Vabcd\ntRcnumpy\ndtype\n(S'u1'\ntR(I2\nI2\ntS'F'\ntR.";
    let Node::Array(read) = root(buffer) else { panic!("no array") };
    assert_eq!((read.shape.as_slice(), read.fortran), (&[2, 2][..], true));
    assert!(matches!(root(array("U2", "<", false, "I1\n", "S'12345678'\n")), Node::Array(_)));
}

#[test]
fn arrays_must_have_their_bytes() {
    for (dtype, order, shape, data, kind, word) in [
        ("f8", "<", "I2\n", "S'12345678'\n", FaultKind::Tensor, "2 elements of <f8 has 8 bytes"),
        ("O8", "|", "I3\n", "(NNl", FaultKind::Tensor, "3 elements"),
        ("f8", "<", "I-1\n", "S''\n", FaultKind::Tensor, "negative"),
        ("f8", "<", "I4294967296\nI4294967296\n", "S''\n", FaultKind::Tensor, "any machine can count"),
        ("f8", "?", "I1\n", "S''\n", FaultKind::Invalid, "byte order"),
        ("x8", "<", "I1\n", "S''\n", FaultKind::Invalid, "'<x8' is of no known form"),
        ("f", "<", "I1\n", "S''\n", FaultKind::Invalid, "no known form"),
        ("f8", "<", "I1\n", "I5\n", FaultKind::Invalid, "data is of type int"),
        ("f8", "<", "N", "S''\n", FaultKind::Invalid, "an integer is needed"),
    ] {
        refuses(array(dtype, order, false, shape, data), kind, word);
    }
    let empty = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR";
    refuses(format!("{empty}(NNtb."), FaultKind::Invalid, "no known form");
    refuses(format!("{empty}(NNNNNtb."), FaultKind::Invalid, "without a dtype");
    refuses("cnumpy.core.multiarray\n_reconstruct\n(NNNtR.", FaultKind::Invalid, "no known form");
    refuses("cnumpy\ndtype\n(S'f8'\ntR(tb.", FaultKind::Invalid, "no known form");
}

proptest::proptest! {
    /// Opcodes drawn so that many pickles get far.
    #[test]
    fn no_opcodes_make_it_panic(choice in proptest::collection::vec(0..40_usize, 0..60)) {
        const WORDS: [&[u8]; 40] = [
            b"(", b"0", b"1", b"2", b"N", b"\x88", b")", b"]", b"}", b"\x8f", b"t", b"\x85", b"\x86", b"\x87",
            b"l", b"d", b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"q\x00", b"h\x00", b"\x94", b"K\x01", b"R",
            b"b", b"\x81", b"o", b"Q", b"U\x07storage", b"ctorch\nFloatStorage\n", b"U\x01a",
            b"ctorch._utils\n_rebuild_tensor\n", b"ccollections\nOrderedDict\n", b"cm\nC\n", b"cnumpy\ndtype\n",
            b"cnumpy.core.multiarray\n_reconstruct\n", b"\x92",
        ];
        let mut bytes: Vec<u8> = choice.iter().flat_map(|&at| WORDS[at]).copied().collect();
        bytes.push(b'.');
        match read(&bytes, &ReadOptions::default()) {
            Ok(pickle) => {
                proptest::prop_assert!(pickle.bytes <= bytes.len() as u64);
                proptest::prop_assert_ne!(pickle.tree.walk(|_| {}), Err(WalkError::Path(0)));
            }
            Err(fault) => proptest::prop_assert!(fault.offset <= bytes.len() as u64),
        }
    }
}

#[test]
fn what_pytorch_cannot_build_is_refused() {
    let v2 = |storage: &str, grad: &str, metadata: &str| {
        format!(
            "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n{storage}\nS'0'\nS'cpu'\nI4\ntQI0\n(I4\nt(I1\nt{grad}N{metadata}tR."
        )
    };
    refuses(v2("LongStorage", "I01\n", ""), FaultKind::Invalid, "requires gradients");
    refuses(v2("FloatStorage", "I00\n", "(dS'conj'\nI01\ns"), FaultKind::Invalid, "only complex ones");
    refuses(v2("FloatStorage", "I00\n", "I5\n"), FaultKind::Invalid, "metadata is of type int");
    refuses("ctorch\ndevice\n(S'nope'\ntR.", FaultKind::Invalid, "'nope' is no device");
    refuses("ctorch.serialization\n_get_layout\n(S'torch.zzz'\ntR.", FaultKind::Invalid, "is no layout");
    refuses("ccollections\nOrderedDict\n(tRI5\nb.", FaultKind::Invalid, "a state for a value");
    let size = "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nctorch\nTensor\n((I1\nttNtR.";
    refuses(size, FaultKind::Invalid, "a tensor is needed");
}

#[test]
fn a_frame_is_not_longer_than_what_is_there() {
    assert_eq!(fault(b"\x80\x04\x95\x05\0\0\0\0\0\0\0N.").kind, FaultKind::Truncated);
    run(b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.");
}
