use super::*;
use crate::tensor::{Map, MapKind, Node, NodeId};

fn written(nodes: Vec<Node>) -> Vec<u8> {
    let root = NodeId(u32::try_from(nodes.len() - 1).unwrap());
    write(&Tree::new(nodes, Vec::new(), root)).unwrap_or_else(|error| panic!("{error}")).bytes
}

/// The forms are Python's own for protocol 2, but for memo entries that nothing refers to.
#[test]
fn values_have_python_s_forms() {
    for (node, bytes) in [
        (Node::Int(255), &b"K\xff"[..]),
        (Node::Int(256), b"M\x00\x01"),
        (Node::Int(-1), b"J\xff\xff\xff\xff"),
        (Node::Int(1 << 31), b"\x8a\x08\0\0\0\x80\0\0\0\0"),
        (Node::Float(-0.0), b"G\x80\0\0\0\0\0\0\0"),
        (Node::Text("a\u{e9}".into()), b"X\x03\0\0\0a\xc3\xa9"),
        (Node::List(Vec::new()), b"]"),
        (Node::Tuple(Vec::new()), b")"),
        (Node::Map(MapKind::Dict, None), b"}"),
        (Node::Size(vec![2]), b"ctorch\nSize\nq\0(K\x02t\x85R"),
        (
            Node::Bytes([0x41, 0xff].into()),
            b"c_codecs\nencode\nq\0X\x03\0\0\0A\xc3\xbfX\x06\0\0\0latin1q\x01\x86R",
        ),
    ] {
        assert_eq!(written(vec![node]), [b"\x80\x02", bytes, b"."].concat());
    }
}

/// A container in two places is one container, and small values are as short as a reference.
#[test]
fn what_is_shared_is_referred_to() {
    let nodes =
        vec![Node::Int(7), Node::List(vec![NodeId(0)]), Node::Tuple(vec![NodeId(1), NodeId(1), NodeId(0)])];
    assert_eq!(written(nodes), b"\x80\x02](K\x07eq\0h\0K\x07\x87.");
}

#[test]
fn memo_entries_beyond_a_byte_are_long() {
    let mut nodes: Vec<_> = (0..300).map(|_| Node::List(Vec::new())).collect();
    let all: Vec<_> = (0..300).map(NodeId).collect();
    nodes.push(Node::List([all.clone(), all].concat()));
    let bytes = written(nodes);
    assert!(bytes.windows(6).any(|window| window == b"]q\xff]r\0"));
    assert!(bytes.windows(7).any(|window| window == b"h\xffj\0\x01\0\0"));
}

#[test]
fn attributes_come_behind_the_entries() {
    let map = Map { entries: vec![(NodeId(0), NodeId(1))], attributes: Some(NodeId(2)) };
    let nodes = vec![
        Node::Text("k".into()),
        Node::None,
        Node::Map(MapKind::Dict, None),
        Node::Map(MapKind::OrderedDict, Some(Box::new(map))),
    ];
    let bytes = written(nodes);
    assert_eq!(bytes, b"\x80\x02ccollections\nOrderedDict\nq\0)R(X\x01\0\0\0kNu}b.");
}
