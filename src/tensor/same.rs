//! Whether two states are the same, down to the bits.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{Array, ArrayData, Body, Map, Node, NodeId, Object, State, StorageId, Tensor, TensorRef};
use crate::Error;

/// Where two states differ first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The keys that lead there, joined by dots.
    pub path: String,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.path.escape_debug(), self.what)
    }
}

impl State<'_> {
    /// Finds where two states differ first; `None` where they are the same: structure, order, types of keys,
    /// bits of floats, bytes of tensors, and what shares what.
    ///
    /// Storages are compared by what their tensors see of them: neither by name nor by size. Tensors that
    /// share one here share one there, the same bytes of it.
    ///
    /// # Errors
    ///
    /// The bytes of a state that is read lazily can't be had, or are damaged.
    pub fn same_as(&self, other: &State<'_>) -> Result<Option<Difference>, Error> {
        let mut comparison = Comparison::new(self, other);
        let mut open = vec![(self.tree().root(), other.tree().root(), String::new())];
        while let Some((a, b, path)) = open.pop() {
            if !comparison.seen.insert((a, b)) {
                continue;
            }
            let from = open.len();
            let mut pairs = Pairs { path: &path, open: &mut open };
            if let Some(what) = comparison.node(a, b, &mut pairs)? {
                return Ok(Some(Difference { path, what: what.to_owned() }));
            }
            open.get_mut(from..).unwrap_or_default().reverse();
        }
        Ok(None)
    }
}

/// What differs, in words.
type Found = Option<&'static str>;

/// What is still to be compared, with its path.
struct Pairs<'p> {
    path: &'p str,
    open: &'p mut Vec<(NodeId, NodeId, String)>,
}

impl Pairs<'_> {
    fn push(&mut self, a: NodeId, b: NodeId, key: &str) {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        self.open.push((a, b, path));
    }

    fn push_all(&mut self, a: &[NodeId], b: &[NodeId]) -> Found {
        for (position, (a, b)) in a.iter().zip(b).enumerate() {
            self.push(*a, *b, &position.to_string());
        }
        (a.len() != b.len()).then_some("the number of items differs")
    }

    fn push_optional(&mut self, a: Option<NodeId>, b: Option<NodeId>, key: &str) -> Found {
        if let (Some(a), Some(b)) = (a, b) {
            self.push(a, b, key);
        }
        (a.is_some() != b.is_some()).then_some("attributes are on one side only")
    }
}

/// Two states, with what was found to correspond.
struct Comparison<'s> {
    one: &'s State<'s>,
    other: &'s State<'s>,
    seen: HashSet<(NodeId, NodeId)>,
    /// The containers, each with its counterpart.
    containers: (HashMap<NodeId, NodeId>, HashMap<NodeId, NodeId>),
    /// The storages, each with its counterpart and how much further back a byte lies there.
    storages: (HashMap<StorageId, (StorageId, i128)>, HashMap<StorageId, StorageId>),
}

impl<'s> Comparison<'s> {
    fn new(one: &'s State<'s>, other: &'s State<'s>) -> Self {
        Self {
            one,
            other,
            seen: HashSet::new(),
            containers: Default::default(),
            storages: Default::default(),
        }
    }

    /// Compares two nodes, and leaves what they hold to be compared.
    fn node(&mut self, a: NodeId, b: NodeId, pairs: &mut Pairs<'_>) -> Result<Found, Error> {
        let (left, right) = (self.one.tree().node(a), self.other.tree().node(b));
        if is_shareable(left) && !self.corresponds(a, b) {
            return Ok(Some("a container is shared on one side only"));
        }
        Ok(match (left, right) {
            (Node::List(a), Node::List(b))
            | (Node::Tuple(a), Node::Tuple(b))
            | (Node::Set(a), Node::Set(b))
            | (Node::FrozenSet(a), Node::FrozenSet(b)) => pairs.push_all(a, b),
            (Node::Map(one, a), Node::Map(other, b)) => {
                if one != other {
                    return Ok(Some("the kinds of maps differ"));
                }
                let empty = Map::default();
                self.map(a.as_deref().unwrap_or(&empty), b.as_deref().unwrap_or(&empty), pairs)
            }
            (Node::Float(a), Node::Float(b)) => differ(a.to_bits() != b.to_bits(), "the floats differ"),
            (Node::Complex(a, c), Node::Complex(b, d)) => {
                differ((a.to_bits(), c.to_bits()) != (b.to_bits(), d.to_bits()), "the complex numbers differ")
            }
            (Node::Tensor(a), Node::Tensor(b)) => self.tensor(a, b, pairs)?,
            (Node::Array(a), Node::Array(b)) => array(a, b, pairs),
            (Node::Object(a), Node::Object(b)) => self.object(a, b, pairs),
            (Node::Storage(a), Node::Storage(b)) => self.storage(*a, *b)?,
            (left, right) => differ(left != right, "the values differ"),
        })
    }

    /// Returns whether two containers are each other's only counterpart.
    fn corresponds(&mut self, a: NodeId, b: NodeId) -> bool {
        let there = *self.containers.0.entry(a).or_insert(b);
        let back = *self.containers.1.entry(b).or_insert(a);
        there == b && back == a
    }

    fn map(&self, a: &Map, b: &Map, pairs: &mut Pairs<'_>) -> Found {
        let attributes = pairs.push_optional(a.attributes, b.attributes, "(attributes)");
        attributes.or_else(|| self.entries(&a.entries, &b.entries, pairs))
    }

    fn entries(&self, a: &[(NodeId, NodeId)], b: &[(NodeId, NodeId)], pairs: &mut Pairs<'_>) -> Found {
        for ((a_key, a), (b_key, b)) in a.iter().zip(b) {
            let mut key = String::new();
            self.one.tree().print_key(&mut key, *a_key);
            pairs.push(*a_key, *b_key, &format!("(key {key})"));
            pairs.push(*a, *b, &key);
        }
        differ(a.len() != b.len(), "the number of entries differs")
    }

    fn object(&self, a: &Object, b: &Object, pairs: &mut Pairs<'_>) -> Found {
        pairs.push(a.arguments, b.arguments, "(arguments)");
        differ(a.global != b.global, "the classes differ")
            .or_else(|| pairs.push_optional(a.state, b.state, "(state)"))
            .or_else(|| pairs.push_all(&a.items, &b.items))
            .or_else(|| self.entries(&a.entries, &b.entries, pairs))
    }

    fn tensor(&mut self, a: &Tensor, b: &Tensor, pairs: &mut Pairs<'_>) -> Result<Found, Error> {
        let flags =
            |tensor: &Tensor| [tensor.requires_grad, tensor.parameter, tensor.conjugated, tensor.negated];
        let found = differ(a.dtype != b.dtype, "the dtypes differ")
            .or_else(|| differ(a.shape != b.shape, "the shapes differ"))
            .or_else(|| differ(flags(a) != flags(b), "the tensors' properties differ"))
            .or_else(|| pairs.push_optional(a.attributes, b.attributes, "(attributes)"));
        if found.is_some() {
            return Ok(found);
        }
        match (&a.body, &b.body) {
            (Body::Strided { quantizer: one, .. }, Body::Strided { quantizer: other, .. }) => {
                let found = pairs.push_optional(*one, *other, "(quantizer)");
                if found.is_some() { Ok(found) } else { self.elements(a, b) }
            }
            (
                Body::Sparse { layout, parts, coalesced },
                Body::Sparse { layout: other_layout, parts: others, coalesced: other },
            ) => {
                for ((name, part), (_, other)) in parts.iter().zip(others) {
                    pairs.push(*part, *other, name);
                }
                let names =
                    |parts: &[(&'static str, NodeId)]| parts.iter().map(|part| part.0).collect::<Vec<_>>();
                let same = (layout, names(parts), coalesced) == (other_layout, names(others), other);
                Ok(differ(!same, "the sparse layouts differ"))
            }
            (
                Body::Nested { buffer, sizes, strides, offsets },
                Body::Nested { buffer: b_buffer, sizes: b_sizes, strides: b_strides, offsets: b_offsets },
            ) => Ok(pairs.push_all(
                &[*buffer, *sizes, *strides, *offsets],
                &[*b_buffer, *b_sizes, *b_strides, *b_offsets],
            )),
            (Body::Converted(a), Body::Converted(b)) => {
                pairs.push(*a, *b, "(data)");
                Ok(None)
            }
            (Body::Meta, Body::Meta) => Ok(None),
            _ => Ok(Some("the layouts differ")),
        }
    }

    /// Compares what two strided tensors see of their storages.
    fn elements(&mut self, a: &Tensor, b: &Tensor) -> Result<Found, Error> {
        let (Some((storage, offset, strides)), Some((other, other_offset, other_strides))) =
            (strided(a), strided(b))
        else {
            return Ok(Some("the layouts differ"));
        };
        let differs = |((length, one), other): ((&u64, &u64), &u64)| *length > 1 && one != other;
        if a.shape.contains(&0) {
            return Ok(None);
        }
        if a.shape.iter().zip(strides).zip(other_strides).any(differs) {
            return Ok(Some("the strides differ"));
        }
        let bytes = |offset: u64| i128::from(offset) * i128::from(a.dtype.bits()) / 8;
        if !self.storages_correspond(storage, other, bytes(other_offset) - bytes(offset)) {
            return Ok(Some("a storage is shared on one side only, or other bytes of it"));
        }
        let device = |state: &State<'_>, id| state.tree().storage(id).map(|storage| storage.device.clone());
        let (one_device, other_device) = (device(self.one, storage), device(self.other, other));
        if one_device != other_device {
            return Ok(Some("the devices differ"));
        }
        let empty = |state: &State<'_>, id| state.data(id).is_none_or(super::Source::is_empty);
        match (empty(self.one, storage), empty(self.other, other)) {
            (true, true) => Ok(None),
            (false, false) => {
                let one = TensorRef::new("", a, self.one).bytes()?;
                let other = TensorRef::new("", b, self.other).bytes()?;
                Ok(differ(one != other, "the elements differ"))
            }
            _ => Ok(Some("the elements are on one side only")),
        }
    }

    /// Compares two storages that stand by themselves: all of their bytes are seen.
    fn storage(&mut self, a: StorageId, b: StorageId) -> Result<Found, Error> {
        let (Some(one), Some(other)) = (self.one.tree().storage(a), self.other.tree().storage(b)) else {
            return Ok(Some("there is no such storage"));
        };
        if (one.dtype, one.bytes, &one.device) != (other.dtype, other.bytes, &other.device) {
            return Ok(Some("the storages differ in dtype, size or device"));
        }
        if !self.storages_correspond(a, b, 0) {
            return Ok(Some("a storage is shared on one side only, or other bytes of it"));
        }
        let (one, other) = (all_bytes(self.one, a)?, all_bytes(self.other, b)?);
        Ok(differ(one != other, "the storages' bytes differ"))
    }

    /// Returns whether two storages are each other's only counterpart, and bytes lie as far apart as before.
    fn storages_correspond(&mut self, a: StorageId, b: StorageId, distance: i128) -> bool {
        let whole = |state: &State<'_>, id| match state.tree().storage(id).and_then(|storage| storage.part_of)
        {
            Some((whole, start)) => (whole, i128::from(start)),
            None => (id, 0),
        };
        let ((a, a_start), (b, b_start)) = (whole(self.one, a), whole(self.other, b));
        let distance = distance + b_start - a_start;
        let there = *self.storages.0.entry(a).or_insert((b, distance));
        let back = *self.storages.1.entry(b).or_insert(a);
        there == (b, distance) && back == a
    }
}

/// Returns the place of a strided tensor's elements.
fn strided(tensor: &Tensor) -> Option<(StorageId, u64, &[u64])> {
    match &tensor.body {
        Body::Strided { storage, offset, strides, .. } => Some((*storage, *offset, strides)),
        _ => None,
    }
}

/// Reads a storage whole.
fn all_bytes(state: &State<'_>, id: StorageId) -> Result<Vec<u8>, Error> {
    use super::Source;
    let Some(data) = state.data(id) else { return Ok(Vec::new()) };
    let mut bytes = vec![0; usize::try_from(data.len()).unwrap_or(usize::MAX)];
    data.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn array(a: &Array, b: &Array, pairs: &mut Pairs<'_>) -> Found {
    let same = (&a.dtype, &a.shape, a.fortran, a.scalar) == (&b.dtype, &b.shape, b.fortran, b.scalar);
    let found = differ(!same, "the arrays' dtypes, shapes or orders differ");
    found.or_else(|| match (a.data, b.data) {
        (ArrayData::Bytes(a), ArrayData::Bytes(b)) | (ArrayData::Values(a), ArrayData::Values(b)) => {
            pairs.push(a, b, "(data)");
            None
        }
        (a, b) => differ(a != b, "the arrays' data differ"),
    })
}

/// Returns whether it makes a difference that a value is the same one at two places: it can be changed.
fn is_shareable(node: &Node) -> bool {
    matches!(node, Node::List(_) | Node::Map(..) | Node::Set(_) | Node::ByteArray(_) | Node::Object(_))
}

fn differ(differs: bool, what: &'static str) -> Found {
    differs.then_some(what)
}
