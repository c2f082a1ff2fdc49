use std::fmt::{self, Write};

use super::{Node, NodeId, Tree};
use crate::record::TensorInfo;

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
/// How many visits a place where a value stands is worth: sharing a container a few times is normal.
const VISITS_PER_PLACE: usize = 8;
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
        let limit = self.visits();
        let mut visits = limit;
        let mut frames = Vec::new();
        let mut next = Some((self.root(), None));
        loop {
            if let Some((id, key)) = next.take() {
                let frame = Frame { id, contents: 0, path: path.len() };
                if let Some(key) = key {
                    self.push_key(&mut path, &key, frames.len() > 1);
                }
                let cost = 1 + path.len() / PATH_BYTES_PER_VISIT + self.node(id).weight();
                check_limits(&path, frames.len())?;
                visits = visits.checked_sub(cost).ok_or(WalkError::Expansion(limit))?;
                if std::mem::replace(open.get_mut(id.0 as usize).unwrap_or(&mut false), true) {
                    return Err(WalkError::Cycle);
                }
                visit(&Leaf { path: &path, id, node: self.node(id), depth: frames.len() });
                frames.push(frame);
            }
            let Some(frame) = frames.last_mut() else { return Ok(()) };
            next = self.child(frame.id, frame.contents);
            frame.contents += 1;
            if next.is_none() {
                path.truncate(frame.path);
                set(&mut open, frame.id, false);
                frames.pop();
            }
        }
    }

    /// Lists every tensor with the keys that lead to it, a shared one at every place. A size beyond 64 bits,
    /// which a tensor of expanded dimensions can have, is told as the largest one.
    ///
    /// # Errors
    ///
    /// The values contain themselves, or exceed a limit of [`Tree::walk`].
    pub fn tensor_infos(&self) -> Result<Vec<TensorInfo>, WalkError> {
        let mut tensors = Vec::new();
        self.walk(|leaf| {
            if let Node::Tensor(tensor) = leaf.node {
                tensors.push(TensorInfo {
                    name: leaf.path.to_owned(),
                    dtype: tensor.dtype,
                    shape: tensor.shape.clone(),
                    bytes: tensor.len_bytes().unwrap_or(u64::MAX),
                });
            }
        })?;
        Ok(tensors)
    }

    /// How many visits a walk may make: some for each place where a value stands. A value that stands
    /// in many places (`None`, `True`, a string) is one node, and no expansion.
    pub(super) fn visits(&self) -> usize {
        let places = (0..self.len()).map(|index| NodeId(u32::try_from(index).unwrap_or(u32::MAX)));
        let places = places.fold(0_usize, |sum, id| sum.saturating_add(1 + self.width(id)));
        FREE_VISITS.saturating_add(places.saturating_mul(VISITS_PER_PLACE))
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
    pub(super) fn print_key(&self, path: &mut String, id: NodeId) {
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

    /// How many values a container holds.
    fn width(&self, id: NodeId) -> usize {
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => items.len(),
            Node::Map(_, Some(map)) => map.entries.len(),
            Node::Object(object) => object.items.len() + 1 + object.entries.len(),
            _ => 0,
        }
    }

    /// Returns a container's content at a place in its order, with the key that leads to it.
    fn child(&self, id: NodeId, at: usize) -> Option<(NodeId, Option<Key>)> {
        let by_position = |&id: &NodeId| (id, Some(Key::Position(at)));
        let by_key = |&(key, id): &(NodeId, NodeId)| (id, Some(Key::Node(key)));
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
                items.get(at).map(by_position)
            }
            Node::Map(_, Some(map)) => map.entries.get(at).map(by_key),
            Node::Object(object) => {
                let values = object.items.len() + usize::from(object.state.is_some());
                match at.checked_sub(values) {
                    Some(at) => object.entries.get(at).map(by_key),
                    None => object.items.get(at).or(object.state.as_ref()).map(by_position),
                }
            }
            _ => None,
        }
    }
}

fn check_limits(path: &str, depth: usize) -> Result<(), WalkError> {
    if depth > MAX_DEPTH {
        return Err(WalkError::Depth(MAX_DEPTH));
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(WalkError::Path(MAX_PATH_BYTES));
    }
    Ok(())
}

/// Appends formatted text; writing to a `String` can't fail.
fn append(path: &mut String, text: fmt::Arguments<'_>) {
    let written = path.write_fmt(text);
    debug_assert!(written.is_ok(), "a String takes any text");
}

/// Marks a node as being entered, or left.
fn set(open: &mut [bool], id: NodeId, value: bool) {
    if let Some(slot) = open.get_mut(id.0 as usize) {
        *slot = value;
    }
}

/// A value that is being visited.
struct Frame {
    id: NodeId,
    /// How many of its contents were entered.
    contents: usize,
    /// The length of the path to what holds it.
    path: usize,
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
            Self::List(_) | Self::Floats(_) => "list",
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
