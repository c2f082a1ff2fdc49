use super::*;
use crate::Dtype;

fn text(text: &str) -> Node {
    Node::Text(text.into())
}

fn map(entries: &[(u32, u32)]) -> Node {
    let entries = entries.iter().map(|&(key, value)| (NodeId(key), NodeId(value))).collect();
    Node::Map(MapKind::Dict, Some(Box::new(Map { entries, attributes: None })))
}

fn list(items: &[u32]) -> Node {
    Node::List(items.iter().copied().map(NodeId).collect())
}

fn tree(nodes: Vec<Node>) -> Tree {
    Tree::new(nodes, Vec::new(), NodeId(0))
}

fn paths(tree: &Tree) -> Vec<String> {
    let mut paths = Vec::new();
    tree.walk(|leaf| paths.push(format!("{}:{}", leaf.depth, leaf.path))).unwrap();
    paths
}

#[test]
fn a_walk_goes_in_order_and_names_every_place() {
    let tree = tree(vec![
        map(&[(1, 2), (3, 4)]),
        text("model"),
        map(&[(5, 6)]),
        text("list"),
        list(&[6, 7]),
        text("w"),
        Node::Int(1),
        Node::None,
    ]);
    assert_eq!(paths(&tree), ["0:", "1:model", "2:model.w", "1:list", "2:list.0", "2:list.1"]);
}

#[test]
fn keys_print_as_python_prints_them() {
    let keys = [
        (Node::Int(-3), "-3"),
        (Node::Bool(true), "True"),
        (Node::Bool(false), "False"),
        (Node::None, "None"),
        (Node::Float(1.0), "1.0"),
        (Node::Tuple(vec![NodeId(3)]), "('a',)"),
        (Node::Tuple(vec![NodeId(3), NodeId(4)]), "('a', 7)"),
        (Node::Tuple(vec![NodeId(5)]), "((…),)"),
        (Node::SurrogateText([0xed, 0xa0, 0x80, b'x'].into()), "\u{fffd}\u{fffd}\u{fffd}x"),
        (Node::Dtype(Dtype::F32), "torch.dtype"),
        (Node::Global("m.C".into()), "m.C"),
    ];
    for (key, printed) in keys {
        let nodes = vec![map(&[(1, 2)]), key, Node::None, text("a"), Node::Int(7), Node::Tuple(Vec::new())];
        assert_eq!(paths(&tree(nodes))[1], format!("1:{printed}"));
    }
}

#[test]
fn a_container_in_itself_is_a_cycle_and_a_shared_one_is_not() {
    assert_eq!(tree(vec![list(&[0])]).walk(|_| {}), Err(WalkError::Cycle));
    assert_eq!(tree(vec![list(&[1]), list(&[2]), list(&[1])]).walk(|_| {}), Err(WalkError::Cycle));
    assert_eq!(
        paths(&tree(vec![list(&[1, 1]), list(&[2]), Node::None])),
        ["0:", "1:0", "2:0.0", "1:1", "2:1.0"]
    );
}

#[test]
fn depth_is_bounded() {
    let chain = |depth: u32| {
        let mut nodes: Vec<Node> = (1..=depth).map(|next| list(&[next])).collect();
        nodes.push(Node::None);
        tree(nodes)
    };
    assert_eq!(chain(1_000).walk(|_| {}), Ok(()));
    assert_eq!(chain(1_001).walk(|_| {}), Err(WalkError::Depth(1_000)));
}

#[test]
fn a_path_is_bounded() {
    let with = |bytes: usize| tree(vec![map(&[(1, 2)]), text(&"k".repeat(bytes)), Node::None]);
    assert_eq!(with(64 << 10).walk(|_| {}), Ok(()));
    assert_eq!(with((64 << 10) + 1).walk(|_| {}), Err(WalkError::Path(64 << 10)));
}

/// Long keys above many values: each visit would copy them.
#[test]
fn long_paths_cost_visits() {
    let inner = list(&vec![3; 10_000]);
    let nodes = vec![map(&[(1, 2)]), text(&"k".repeat(60_000)), inner, Node::None];
    assert!(matches!(tree(nodes).walk(|_| {}), Err(WalkError::Expansion(_))));
}

#[test]
fn objects_are_walked_too() {
    let object = Object {
        global: "m.C".into(),
        arguments: NodeId(1),
        state: Some(NodeId(2)),
        items: vec![NodeId(3)],
        entries: vec![(NodeId(4), NodeId(3))],
    };
    let tree = tree(vec![Node::Object(Box::new(object)), Node::None, Node::Int(1), Node::Int(2), text("k")]);
    assert_eq!(paths(&tree), ["0:", "1:0", "1:1", "1:k"]);
}

#[test]
fn a_tree_answers_for_numbers_that_it_has_not() {
    let tree = tree(vec![map(&[(1, 2)]), text("version"), Node::Int(1)]);
    assert_eq!(tree.get(tree.root(), "version"), Some(NodeId(2)));
    assert_eq!(tree.get(tree.root(), "status"), None);
    assert_eq!(tree.get(NodeId(2), "version"), None);
    assert_eq!(tree.node(NodeId(99)), &Node::None);
    assert_eq!(tree.storage(StorageId(0)), None);
    assert!(tree.is_map() && !tree.is_empty());
    assert_eq!(tree.len(), 3);
}

#[test]
fn extents_are_exact() {
    assert_eq!(extent(0, &[], &[]), Ok(1));
    assert_eq!(extent(5, &[1], &[u64::MAX]), Ok(6));
    assert_eq!(extent(u64::MAX, &[0], &[1]), Ok(0));
    assert_eq!(extent(0, &[2], &[1, 1]), Err(LayoutError::Rank(1, 2)));
    for (offset, shape, strides) in [
        (i64::MAX as u64, vec![1], vec![1]),
        (0, vec![2], vec![u64::MAX]),
        (0, vec![u64::MAX], vec![2]),
        (u64::MAX, vec![2], vec![1]),
    ] {
        assert_eq!(extent(offset, &shape, &strides), Err(LayoutError::Overflow));
    }
    assert_eq!(extent(i64::MAX as u64 - 1, &[1], &[1]), Ok(i64::MAX as u64));
}

#[test]
fn a_node_stays_small() {
    assert_eq!(size_of::<Node>(), 32);
}
