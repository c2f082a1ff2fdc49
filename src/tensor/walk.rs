use std::fmt::{self, Write};

use super::{Map, Node, NodeId, Tree};

/// A node on the way through a tree, with the keys that lead to it.
#[derive(Debug)]
pub struct Leaf<'a> {
    /// The keys from the root on, joined by dots; empty for the root.
    pub path: &'a str,
    /// The node's number.
    pub id: NodeId,
    /// The node.
    pub node: &'a Node,
    /// How many keys the path has.
    pub depth: usize,
}

/// Why a tree can't be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A container contains itself.
    #[error("a container contains itself")]
    Cycle,
    /// Nested deeper than the limit.
    #[error("values are nested more than {0} deep")]
    Depth(usize),
    /// A path is longer than the limit.
    #[error("keys are more than {0} bytes long together")]
    Path(usize),
    /// Sharing makes it many times as large as the file.
    #[error("values are shared so often that there would be more than {0} of them")]
    Expansion(usize),
}

/// Values nested deeper than this are refused: real checkpoints have some ten levels, and every
/// reader that recurses would exhaust its stack.
const MAX_DEPTH: usize = 1_000;
/// How often, at least, a walk may visit nodes.
const FREE_VISITS: usize = 1_000_000;
/// How many visits a node of the arena is worth: sharing a value a few times is normal.
const VISITS_PER_NODE: usize = 8;
/// Bytes of a path that cost as much as one visit.
const PATH_BYTES_PER_VISIT: usize = 64;
/// Lengths of a tensor's shape that cost as much as one visit: who lists tensors copies them.
const LENGTHS_PER_VISIT: usize = 8;
/// Longer paths are refused: no reader has keys of that length, and each visit would copy them.
const MAX_PATH_BYTES: usize = 64 << 10;
/// A tuple that is a key is printed up to this many items.
const MAX_KEY_ITEMS: usize = 8;

impl Tree {
    /// Visits every value in order, containers before their contents; a shared value at every place.
    ///
    /// A path is made of map keys as they print and of the positions in lists and tuples.
    ///
    /// # Errors
    ///
    /// See [`WalkError`]. What was visited before stays visited.
    pub fn walk(&self, mut visit: impl FnMut(&Leaf<'_>)) -> Result<(), WalkError> {
        let mut path = String::new();
        let mut open = vec![false; self.len()];
        let mut visits = FREE_VISITS.saturating_add(self.len().saturating_mul(VISITS_PER_NODE));
        let limit = visits;
        // What remains to be done, last first: enter a node under a key, or leave the one entered.
        let mut todo = vec![Step::Enter { id: self.root(), key: None }];
        let mut lengths: Vec<(NodeId, usize)> = Vec::new();
        while let Some(step) = todo.pop() {
            let Step::Enter { id, key } = step else {
                if let Some((id, length)) = lengths.pop() {
                    path.truncate(length);
                    set(&mut open, id, false);
                }
                continue;
            };
            if open.get(id.0 as usize) == Some(&true) {
                return Err(WalkError::Cycle);
            }
            if lengths.len() > MAX_DEPTH {
                return Err(WalkError::Depth(MAX_DEPTH));
            }
            lengths.push((id, path.len()));
            todo.push(Step::Leave);
            if let Some(key) = key {
                self.push_key(&mut path, &key, lengths.len() > 2);
            }
            if path.len() > MAX_PATH_BYTES {
                return Err(WalkError::Path(MAX_PATH_BYTES));
            }
            let cost = 1 + path.len() / PATH_BYTES_PER_VISIT + self.node(id).weight();
            visits = visits.checked_sub(cost).ok_or(WalkError::Expansion(limit))?;
            set(&mut open, id, true);
            visit(&Leaf { path: &path, id, node: self.node(id), depth: lengths.len() - 1 });
            self.push_children(id, &mut todo);
        }
        Ok(())
    }

    /// Appends a key to a path, behind a dot unless it is the first one.
    fn push_key(&self, path: &mut String, key: &Key, separate: bool) {
        if separate {
            path.push('.');
        }
        match *key {
            Key::Position(position) => path.push_str(&position.to_string()),
            Key::Node(id) => self.print_key(path, id),
        }
    }

    /// Prints a map's key: text as it is, anything else as Python's `repr` would.
    fn print_key(&self, path: &mut String, id: NodeId) {
        match self.node(id) {
            Node::Text(text) => path.push_str(text),
            Node::SurrogateText(bytes) => path.push_str(&String::from_utf8_lossy(bytes)),
            Node::Int(value) => path.push_str(&value.to_string()),
            Node::Bool(value) => path.push_str(if *value { "True" } else { "False" }),
            Node::None => path.push_str("None"),
            Node::Float(value) => append(path, format_args!("{value:?}")),
            Node::Tuple(items) => {
                path.push('(');
                for (position, &item) in items.iter().enumerate().take(MAX_KEY_ITEMS) {
                    if position > 0 {
                        path.push_str(", ");
                    }
                    self.print_plain(path, item);
                }
                path.push_str(if items.len() == 1 { ",)" } else { ")" });
            }
            other => path.push_str(other.type_name()),
        }
    }

    /// Prints an item of a tuple that is a key; one level is enough to tell keys apart.
    fn print_plain(&self, path: &mut String, id: NodeId) {
        match self.node(id) {
            Node::Text(text) => append(path, format_args!("'{text}'")),
            Node::Tuple(_) => path.push_str("(…)"),
            _ => self.print_key(path, id),
        }
    }

    /// Pushes the contents of a container, last first.
    fn push_children(&self, id: NodeId, todo: &mut Vec<Step>) {
        let start = todo.len();
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
                todo.extend(
                    items
                        .iter()
                        .enumerate()
                        .map(|(at, &id)| Step::Enter { id, key: Some(Key::Position(at)) }),
                );
            }
            Node::Map(_, Some(map)) => todo.extend(map_steps(map)),
            Node::Object(object) => {
                let values = object.items.iter().chain(&object.state);
                todo.extend(
                    values.enumerate().map(|(at, &id)| Step::Enter { id, key: Some(Key::Position(at)) }),
                );
                todo.extend(
                    object.entries.iter().map(|&(key, id)| Step::Enter { id, key: Some(Key::Node(key)) }),
                );
            }
            _ => {}
        }
        if let Some(added) = todo.get_mut(start..) {
            added.reverse();
        }
    }
}

/// Appends formatted text; writing to a `String` can't fail.
fn append(path: &mut String, text: fmt::Arguments<'_>) {
    let written = path.write_fmt(text);
    debug_assert!(written.is_ok(), "a String takes any text");
}

/// The steps into a map's values, in order.
fn map_steps(map: &Map) -> impl Iterator<Item = Step> {
    map.entries.iter().map(|&(key, id)| Step::Enter { id, key: Some(Key::Node(key)) })
}

/// Marks a node as being entered, or left.
fn set(open: &mut [bool], id: NodeId, value: bool) {
    if let Some(slot) = open.get_mut(id.0 as usize) {
        *slot = value;
    }
}

/// What remains to be done on a walk. A list of steps stands for the stack of calls: a walk of a million
/// levels would exhaust that one.
enum Step {
    Enter { id: NodeId, key: Option<Key> },
    Leave,
}

/// What leads to a value: its position in a list, or its key in a map.
enum Key {
    Position(usize),
    Node(NodeId),
}

impl Node {
    /// What a visit costs beyond one.
    fn weight(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.shape.len() / LENGTHS_PER_VISIT,
            _ => 0,
        }
    }

    /// Returns the name of the value's type, as Python has it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Complex(..) => "complex",
            Self::Text(_) | Self::SurrogateText(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "bytearray",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Set(_) => "set",
            Self::FrozenSet(_) => "frozenset",
            Self::Map(super::MapKind::Dict, _) => "dict",
            Self::Map(super::MapKind::OrderedDict, _) => "OrderedDict",
            Self::Map(super::MapKind::Counter, _) => "Counter",
            Self::Size(_) => "torch.Size",
            Self::Device(_) => "torch.device",
            Self::Dtype(_) => "torch.dtype",
            Self::Layout(_) => "torch.layout",
            Self::QScheme(_) => "torch.qscheme",
            Self::Storage(_) => "torch.Storage",
            Self::Tensor(_) => "torch.Tensor",
            Self::Array(_) => "numpy.ndarray",
            Self::ArrayDtype(_) => "numpy.dtype",
            Self::Global(name) => name,
            Self::Object(object) => &object.global,
        }
    }
}
