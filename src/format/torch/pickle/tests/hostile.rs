//! What small pickles may not cost.

use super::*;

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

#[track_caller]
fn is_too_complex(bytes: &[u8]) {
    assert_eq!(fault(bytes).kind, FaultKind::TooComplex);
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

/// Lists of `None`, truth values and repeated words are normal: their items are one node each.
#[test]
fn a_small_value_may_stand_in_many_places() {
    let bytes = [&b"\x80\x02]("[..], &b"N".repeat(1_500_000), b"e."].concat();
    let mut visited = 0;
    run(bytes).tree.walk(|_| visited += 1).unwrap();
    assert_eq!(visited, 1_500_001);
}

/// Python limits them to as many digits, because converting takes time by the square: here, what takes
/// long shows in how long this test takes.
#[test]
fn long_decimals_are_converted() {
    let number = [&b"L"[..], &b"9".repeat(4_300), b"\n0"].concat();
    let bytes = [&number.repeat(2_000)[..], b"N."].concat();
    run(bytes);
}

/// Memory stays a small multiple of the bytes: a pickle can't be nothing but containers.
#[test]
fn values_take_bytes() {
    is_too_complex(&[&b"\x80\x02]("[..], &b"]".repeat(3_000_000), b"e."].concat());
    let numbers = run([&b"\x80\x02]("[..], &b"K\x05".repeat(3_000_000), b"e."].concat());
    assert!(numbers.tree.len() > 3_000_000);
}
