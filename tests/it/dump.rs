//! The Rust side of the canonical dump, which `tests/python/dump.py` defines.
//!
//! Written against that definition alone, so that the two agree only where the readers do.

mod array;
mod repr;
mod tensor;

use ckpt::format::safetensors::Header;
use ckpt::format::torch::Checkpoint;
use ckpt::io::ReadAt;
use ckpt::tensor::{MapKind, Node, NodeId, Tree};
use serde_json::{Value, json};

/// A list of more leaves ends early.
const LEAF_CAP: usize = 100_000;
/// What lies deeper isn't looked into.
const DEPTH_CAP: usize = 1_000;
/// Longer byte strings are given by their checksum.
const BYTES_INLINE: usize = 1_024;
/// Larger tensors have no checksum.
const CRC_CAP: u64 = 64 << 20;

/// One line of a dump: `[path, type, value]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    pub(crate) path: String,
    pub(crate) kind: String,
    pub(crate) value: Value,
}

impl Leaf {
    fn new(path: impl Into<String>, kind: impl Into<String>, value: Value) -> Self {
        Self { path: path.into(), kind: kind.into(), value }
    }

    /// Reads a leaf of the oracle's answer.
    fn from_json(value: &Value) -> Self {
        let text = |at: usize| value[at].as_str().expect("a leaf begins with two strings").to_owned();
        Self { path: text(0), kind: text(1), value: value[2].clone() }
    }
}

/// Reads the oracle's `values`.
pub(crate) fn from_json(values: &Value) -> Vec<Leaf> {
    values.as_array().expect("a dump is a list").iter().map(Leaf::from_json).collect()
}

/// Dumps a safetensors file.
pub(crate) fn safetensors(source: &dyn ReadAt, header: &Header) -> Vec<Leaf> {
    let mut tensors: Vec<_> = header.tensors.iter().collect();
    tensors.sort_by(|a, b| a.info.name.cmp(&b.info.name));
    let mut leaves = vec![Leaf::new("", "dict", json!(tensors.len()))];
    for tensor in tensors {
        if leaves.len() == LEAF_CAP {
            leaves.push(capped());
            break;
        }
        leaves.push(Leaf::new(&tensor.info.name, "Tensor", tensor::in_safetensors(source, tensor)));
    }
    leaves
}

/// Dumps a PyTorch checkpoint.
pub(crate) fn torch(source: &dyn ReadAt, checkpoint: &Checkpoint) -> Vec<Leaf> {
    let dumper = Dumper { source, checkpoint, tree: &checkpoint.tree };
    let mut leaves = Vec::new();
    let mut open = Vec::new();
    let mut todo = vec![Step::Enter { path: String::new(), id: dumper.tree.root(), depth: 0 }];
    while let Some(step) = todo.pop() {
        let Step::Enter { path, id, depth } = step else {
            open.pop();
            continue;
        };
        if leaves.len() == LEAF_CAP {
            leaves.push(capped());
            break;
        }
        if open.contains(&id) {
            leaves.push(Leaf::new(path, "cycle", Value::Null));
            continue;
        }
        if depth > DEPTH_CAP {
            leaves.push(Leaf::new(path, "deep", Value::Null));
            continue;
        }
        let (kind, value) = dumper.own(id);
        leaves.push(Leaf::new(&path, kind, value));
        let prefix = if depth == 0 { String::new() } else { format!("{path}.") };
        if let Node::Size(lengths) = dumper.tree.node(id) {
            let leaf = |(at, length): (usize, &i64)| {
                Leaf::new(format!("{prefix}{at}"), "int", json!(length.to_string()))
            };
            leaves.extend(lengths.iter().enumerate().map(leaf));
        }
        let children = dumper.children(id);
        if children.is_empty() {
            continue;
        }
        open.push(id);
        todo.push(Step::Leave);
        let enter = |(name, id)| Step::Enter { path: format!("{prefix}{name}"), id, depth: depth + 1 };
        todo.extend(children.into_iter().rev().map(enter));
    }
    leaves
}

enum Step {
    Enter { path: String, id: NodeId, depth: usize },
    Leave,
}

fn capped() -> Leaf {
    Leaf::new("", "capped", json!(LEAF_CAP))
}

/// What the values of a checkpoint are made from.
#[derive(Clone, Copy)]
struct Dumper<'a> {
    source: &'a dyn ReadAt,
    checkpoint: &'a Checkpoint,
    tree: &'a Tree,
}

impl Dumper<'_> {
    /// A value's own leaf: type and value.
    fn own(self, id: NodeId) -> (String, Value) {
        let node = self.tree.node(id);
        let (kind, value) = match node {
            Node::None => ("None", Value::Null),
            Node::Bool(value) => ("bool", json!(value)),
            Node::Int(value) => ("int", json!(value.to_string())),
            Node::BigInt(bytes) => ("int", json!(repr::big_int(bytes))),
            Node::Float(value) => ("float", float(*value)),
            Node::Complex(re, im) => ("complex", json!([float(*re), float(*im)])),
            Node::Text(text) => ("str", json!(&**text)),
            Node::SurrogateText(bytes) => ("str", json!(repr::without_surrogates(bytes))),
            Node::Bytes(bytes) => ("bytes", blob(bytes)),
            Node::ByteArray(bytes) => ("bytearray", blob(bytes)),
            Node::List(items) => ("list", json!(items.len())),
            Node::Tuple(items) => ("tuple", json!(items.len())),
            Node::Set(items) => ("set", json!(items.len())),
            Node::FrozenSet(items) => ("frozenset", json!(items.len())),
            Node::Map(kind, map) => (map_name(*kind), json!(map.as_ref().map_or(0, |map| map.entries.len()))),
            Node::Size(lengths) => ("Size", json!(lengths.len())),
            Node::Device(_) => ("device", json!(repr::named(node))),
            Node::Dtype(_) => ("dtype", json!(repr::named(node))),
            Node::Layout(_) => ("layout", json!(repr::named(node))),
            Node::QScheme(_) => ("qscheme", json!(repr::named(node))),
            Node::Storage(id) => ("storage", tensor::storage(self, *id)),
            Node::Tensor(tensor) => {
                (if tensor.parameter { "Parameter" } else { "Tensor" }, tensor::value(self, tensor))
            }
            Node::Array(array) => {
                (if array.scalar { "npscalar" } else { "ndarray" }, array::value(self.tree, array))
            }
            Node::ArrayDtype(name) => ("npdtype", json!(array::dtype_name(name))),
            Node::Global(name) => ("global", json!(&**name)),
            Node::Object(object) => ("other", json!(&*object.global)),
            other => panic!("the dump has no word for a value of type {}", other.type_name()),
        };
        (kind.to_owned(), value)
    }

    /// What follows a value's own leaf, with the path's components.
    fn children(self, id: NodeId) -> Vec<(String, NodeId)> {
        match self.tree.node(id) {
            Node::List(items) | Node::Tuple(items) => numbered(items.iter().copied()),
            Node::Set(items) | Node::FrozenSet(items) => {
                let mut items = items.clone();
                items.sort_by_cached_key(|&item| repr::repr(self.tree, item));
                numbered(items.into_iter())
            }
            Node::Map(kind, Some(map)) => {
                let mut children: Vec<_> =
                    map.entries.iter().map(|&(key, value)| (repr::key(self.tree, key), value)).collect();
                let attributes = map.attributes.filter(|_| *kind != MapKind::Dict);
                children.extend(self.attributes(attributes));
                children
            }
            Node::Tensor(tensor) => self.attributes(tensor.attributes).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The attributes of an object, where it has any.
    fn attributes(self, id: Option<NodeId>) -> Option<(String, NodeId)> {
        let id = id?;
        matches!(self.tree.node(id), Node::Map(_, Some(map)) if !map.entries.is_empty())
            .then(|| ("__dict__".to_owned(), id))
    }
}

fn numbered(items: impl Iterator<Item = NodeId>) -> Vec<(String, NodeId)> {
    items.enumerate().map(|(at, id)| (at.to_string(), id)).collect()
}

fn map_name(kind: MapKind) -> &'static str {
    match kind {
        MapKind::Dict => "dict",
        MapKind::OrderedDict => "OrderedDict",
        MapKind::Counter => "Counter",
    }
}

/// A double as its 16 hex digits, big-endian.
fn float(value: f64) -> Value {
    json!(format!("{:016x}", value.to_bits()))
}

fn blob(bytes: &[u8]) -> Value {
    if bytes.len() > BYTES_INLINE {
        return json!({"len": bytes.len(), "crc32": crc32(bytes)});
    }
    json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat())
}

/// The checksum that Python's `zlib.crc32` gives.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Says where two dumps differ: the first few places, with ours and theirs; `None` where they agree.
pub(crate) fn differences(ours: &[Leaf], theirs: &[Leaf]) -> Option<String> {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = ours
        .iter()
        .zip(theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| {
            format!("at '{}'\n  ours:   {}\n  theirs: {}", theirs.path, show(ours), show(theirs))
        })
        .collect();
    if ours.len() != theirs.len() {
        let longer = if ours.len() > theirs.len() { ours } else { theirs };
        let first = &longer[ours.len().min(theirs.len())];
        lines.push(format!(
            "{} leaves against {}; the first of the rest: {}",
            ours.len(),
            theirs.len(),
            show(first)
        ));
    }
    if lines.is_empty() {
        return None;
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Some(lines.join("\n"))
}

fn show(leaf: &Leaf) -> String {
    let text = format!("'{}' {} {}", leaf.path, leaf.kind, leaf.value);
    if text.chars().count() <= 400 { text } else { text.chars().take(400).chain("…".chars()).collect() }
}
