//! Values other than tensors.

use super::numbers::{Apart, floats};
use crate::Error;
use crate::tensor::{Body, Data, Node, NodeId, Source, State, StorageId, Tensor, gather};

/// How much of a text is shown.
const SHOWN_CHARACTERS: usize = 60;

/// How much of two storages is compared at once, in bytes.
const WINDOW: u64 = 1 << 20;

/// Two states whose values are compared.
pub(super) struct Plain<'s> {
    pub(super) left: &'s State<'s>,
    pub(super) right: &'s State<'s>,
    pub(super) tolerance: Option<f64>,
}

impl Plain<'_> {
    /// Returns whether two values are the same. What a list or a map holds stands by itself.
    pub(super) fn same(&self, one: NodeId, other: NodeId) -> Result<bool, Error> {
        let (a, b) = (self.left.tree().node(one), self.right.tree().node(other));
        match (a, b) {
            (Node::List(a), Node::List(b))
            | (Node::Tuple(a), Node::Tuple(b))
            | (Node::Set(a), Node::Set(b))
            | (Node::FrozenSet(a), Node::FrozenSet(b)) => Ok(a.len() == b.len()),
            (Node::Map(_, None), Node::Map(_, None)) => Ok(true),
            _ => self.same_within(one, other),
        }
    }

    /// Returns whether two values are the same, with all that they hold.
    pub(super) fn same_within(&self, one: NodeId, other: NodeId) -> Result<bool, Error> {
        let mut open = vec![(one, other)];
        while let Some((one, other)) = open.pop() {
            let (mut a, mut b) = (self.left.tree().node(one).clone(), self.right.tree().node(other).clone());
            if !self.same_bytes(&mut a, &mut b)? {
                return Ok(false);
            }
            let (mine, theirs) = (take_ids(&mut a), take_ids(&mut b));
            if mine.len() != theirs.len() || !self.same_alone(&a, &b) {
                return Ok(false);
            }
            open.extend(mine.into_iter().zip(theirs));
        }
        Ok(true)
    }

    /// Compares two values that refer to nothing.
    fn same_alone(&self, one: &Node, other: &Node) -> bool {
        let same = |a: f64, b: f64| {
            a.to_bits() == b.to_bits()
                || match (floats(a, b), self.tolerance) {
                    (Apart::By(by), Some(tolerance)) => by <= tolerance,
                    (Apart::BothNan, Some(_)) => true,
                    _ => false,
                }
        };
        match (one, other) {
            (Node::Float(a), Node::Float(b)) => same(*a, *b),
            (Node::Complex(a, b), Node::Complex(c, d)) => same(*a, *c) && same(*b, *d),
            (a, b) => a == b,
        }
    }

    /// Compares what two values have in storages, which is then blanked.
    fn same_bytes(&self, one: &mut Node, other: &mut Node) -> Result<bool, Error> {
        let data = |state: &State<'_>, id: StorageId| {
            state.data(id).cloned().unwrap_or_else(|| Data::from(Vec::new())).len()
        };
        let same = match (&*one, &*other) {
            (Node::Tensor(a), Node::Tensor(b)) => match (&a.body, &b.body) {
                (Body::Strided { .. }, Body::Strided { .. }) => {
                    (a.dtype, &a.shape) == (b.dtype, &b.shape)
                        && elements(self.left, a)? == elements(self.right, b)?
                }
                _ => true,
            },
            (Node::Storage(a), Node::Storage(b)) => {
                data(self.left, *a) == data(self.right, *b) && self.same_storages(*a, *b)?
            }
            _ => true,
        };
        for node in [one, other] {
            if let Node::Tensor(tensor) = node {
                let quantizer = match tensor.body {
                    Body::Strided { quantizer, .. } => Some(quantizer),
                    _ => None,
                };
                if let Some(quantizer) = quantizer {
                    let (storage, strides) = (StorageId(0), Vec::new());
                    tensor.body = Body::Strided { storage, offset: 0, strides, quantizer };
                }
            } else if let Node::Storage(id) = node {
                *id = StorageId(0);
            }
        }
        Ok(same)
    }

    /// Compares two storages of one length.
    fn same_storages(&self, one: StorageId, other: StorageId) -> Result<bool, Error> {
        let (Some(one), Some(other)) = (self.left.data(one), self.right.data(other)) else {
            return Ok(true);
        };
        let mut at = 0;
        while at < one.len() {
            let length = usize::try_from((one.len() - at).min(WINDOW)).unwrap_or_default();
            let (mut mine, mut theirs) = (vec![0; length], vec![0; length]);
            one.read_at(&mut mine, at)?;
            other.read_at(&mut theirs, at)?;
            if mine != theirs {
                return Ok(false);
            }
            at += length as u64;
        }
        Ok(true)
    }
}

/// Reads the elements of a strided tensor.
fn elements(state: &State<'_>, tensor: &Tensor) -> Result<Option<Vec<u8>>, Error> {
    let Body::Strided { storage, .. } = &tensor.body else { return Ok(None) };
    let Some(data) = state.data(*storage) else { return Ok(None) };
    let mut bytes = vec![0; usize::try_from(data.len()).unwrap_or_default()];
    data.read_at(&mut bytes, 0)?;
    Ok(gather(&bytes, tensor))
}

/// Takes out the numbers of the values that one refers to.
fn take_ids(node: &mut Node) -> Vec<NodeId> {
    let mut ids = Vec::new();
    node.each_id(&mut |id| ids.push(std::mem::replace(id, NodeId(0))));
    ids
}

/// Shows a value in a few words.
pub(super) fn show(node: &Node) -> String {
    let items = |items: &[NodeId]| format!("{} of {} items", node.type_name(), items.len());
    match node {
        Node::None => "None".to_owned(),
        Node::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
        Node::Int(value) => value.to_string(),
        Node::Float(value) => format!("{value:?}"),
        Node::Complex(re, im) => format!("({re:?}, {im:?})"),
        Node::Text(text) => {
            let short: String = text.chars().take(SHOWN_CHARACTERS).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("'{}{more}'", short.escape_debug())
        }
        Node::Bytes(bytes) | Node::ByteArray(bytes) => {
            format!("{} of {} bytes", node.type_name(), bytes.len())
        }
        Node::List(all) | Node::Tuple(all) | Node::Set(all) | Node::FrozenSet(all) => items(all),
        Node::Map(..) => format!("{} without entries", node.type_name()),
        Node::Size(lengths) => format!("torch.Size({lengths:?})"),
        Node::Device(name) | Node::Layout(name) | Node::QScheme(name) | Node::ArrayDtype(name) => {
            name.to_string()
        }
        Node::Dtype(dtype) => dtype.to_string(),
        Node::Tensor(tensor) => format!("{}{:?}", tensor.dtype, tensor.shape),
        Node::Array(array) => format!("numpy {}{:?}", array.dtype, array.shape),
        other => other.type_name().to_owned(),
    }
}
