//! Equality of map keys and set items, as Python has it.
//!
//! While a pickle runs, maps only collect pairs. When it has ended, each map is settled: keys that
//! can't be keys are refused, and of equal keys the first stays, with the last value.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::fault::{Step, invalid, too_complex};
use crate::tensor::{Node, NodeId};

/// Tuples nested deeper than this are no keys of a checkpoint.
const MAX_KEY_DEPTH: usize = 16;
/// What all keys together may have parts, for each node of the tree: tuples can share parts.
const PARTS_PER_NODE: usize = 8;
/// What keys may have in any case.
const FREE_PARTS: usize = 1 << 16;
/// A string costs a part for each so many bytes, since it is hashed; a `torch.Size` one for each length.
const BYTES_PER_PART: usize = 64;

/// A key as Python compares it: two are equal here if and only if `==` and `hash` say so there.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    None,
    /// Integers, truth values, and floats that are integers: equal in Python.
    Integer(i64),
    /// Beyond 64 bits, in its shortest form.
    BigInteger(&'a [u8]),
    /// Not an integer, by its bits.
    Float(u64),
    /// With an imaginary part, by its bits.
    Complex(u64, u64),
    Text(&'a str),
    SurrogateText(&'a [u8]),
    Bytes(&'a [u8]),
    /// Equal where all items are; a `torch.Size` is a tuple.
    Tuple(Vec<Self>),
    /// A type or a device, equal by its name.
    Named(&'a str),
    /// Equal only to itself.
    Identity(NodeId),
}

/// Settles every map and set.
///
/// `bytes` is the length of the pickle. It and the number of nodes bound the work: keys are hashed, and
/// a pickle can use the same long one in a million maps.
pub(super) fn settle(nodes: &mut [Node], bytes: usize) -> Step {
    let parts = nodes.len().saturating_mul(PARTS_PER_NODE).saturating_add(FREE_PARTS);
    let mut parts = parts.saturating_add(bytes / 8);
    for index in 0..nodes.len() {
        let settled = match nodes.get(index) {
            Some(Node::Map(_, Some(map))) => Settled::Map(settle_map(nodes, &map.entries, &mut parts)?),
            Some(Node::Set(items) | Node::FrozenSet(items)) => {
                let pairs: Vec<_> = items.iter().map(|&item| (item, item)).collect();
                Settled::Set(settle_map(nodes, &pairs, &mut parts)?)
            }
            _ => continue,
        };
        match (nodes.get_mut(index), settled) {
            (Some(Node::Map(_, Some(map))), Settled::Map(Some(entries))) => map.entries = entries,
            (Some(Node::Set(items) | Node::FrozenSet(items)), Settled::Set(Some(entries))) => {
                *items = entries.into_iter().map(|(item, _)| item).collect();
            }
            _ => {}
        }
    }
    Ok(())
}

/// A map's entries or a set's items without repetition; `None` where nothing was repeated.
enum Settled {
    Map(Option<Vec<(NodeId, NodeId)>>),
    Set(Option<Vec<(NodeId, NodeId)>>),
}

/// Returns the entries without repetition, or `None` where there was none.
fn settle_map(
    nodes: &[Node],
    entries: &[(NodeId, NodeId)],
    parts: &mut usize,
) -> Step<Option<Vec<(NodeId, NodeId)>>> {
    let mut places = HashMap::with_capacity(entries.len());
    let mut kept: Vec<(NodeId, NodeId)> = Vec::new();
    for (position, &(key, value)) in entries.iter().enumerate() {
        let fresh = kept.is_empty() && places.len() == position;
        match places.entry(make(nodes, key, 0, parts)?) {
            Entry::Vacant(place) => {
                place.insert(if fresh { position } else { kept.len() });
                if !fresh {
                    kept.push((key, value));
                }
            }
            Entry::Occupied(place) => {
                if fresh {
                    kept = entries.get(..position).unwrap_or_default().to_vec();
                }
                if let Some(entry) = kept.get_mut(*place.get()) {
                    entry.1 = value;
                }
            }
        }
    }
    Ok(if kept.is_empty() { None } else { Some(kept) })
}

/// Makes the key of a value.
///
/// # Errors
///
/// The value can't be hashed in Python: a list, a map, a set. Or all keys together cost too much.
fn make<'a>(nodes: &'a [Node], id: NodeId, depth: usize, parts: &mut usize) -> Step<Key<'a>> {
    if depth > MAX_KEY_DEPTH {
        return too_complex("a key is a deeply nested tuple");
    }
    let Some(node) = nodes.get(id.0 as usize) else { return invalid("no such value") };
    *parts = match parts.checked_sub(1 + weight(node)) {
        Some(left) => left,
        None => return too_complex("keys share their parts too often"),
    };
    Ok(match node {
        Node::None => Key::None,
        Node::Bool(value) => Key::Integer((*value).into()),
        Node::Int(value) => Key::Integer(*value),
        Node::BigInt(bytes) => Key::BigInteger(bytes),
        Node::Float(value) => float_key(*value, id),
        Node::Complex(re, im) if *im == 0.0 => float_key(*re, id),
        Node::Complex(re, im) => Key::Complex(re.to_bits(), im.to_bits()),
        Node::Text(text) => Key::Text(text),
        Node::SurrogateText(bytes) => Key::SurrogateText(bytes),
        Node::Bytes(bytes) => Key::Bytes(bytes),
        Node::Tuple(items) => {
            Key::Tuple(items.iter().map(|&item| make(nodes, item, depth + 1, parts)).collect::<Step<_>>()?)
        }
        Node::Size(lengths) => Key::Tuple(lengths.iter().map(|&length| Key::Integer(length)).collect()),
        Node::Dtype(dtype) => Key::Named(dtype.torch_name()),
        Node::Device(name) | Node::Layout(name) | Node::QScheme(name) | Node::Global(name) => {
            Key::Named(name)
        }
        Node::List(_)
        | Node::Floats(_)
        | Node::Set(_)
        | Node::Map(..)
        | Node::ByteArray(_)
        | Node::Array(_) => {
            return invalid(format!("a {} can't be a key", node.type_name()));
        }
        _ => Key::Identity(id),
    })
}

/// What a key costs beyond one part.
fn weight(node: &Node) -> usize {
    match node {
        Node::Text(text) => text.len() / BYTES_PER_PART,
        Node::BigInt(bytes) | Node::SurrogateText(bytes) | Node::Bytes(bytes) => bytes.len() / BYTES_PER_PART,
        Node::Device(name) | Node::Layout(name) | Node::QScheme(name) | Node::Global(name) => {
            name.len() / BYTES_PER_PART
        }
        Node::Size(lengths) => lengths.len(),
        _ => 0,
    }
}

/// A float that is an integer equals that integer; a NaN equals nothing, itself included.
fn float_key(value: f64, id: NodeId) -> Key<'static> {
    if value.is_nan() {
        return Key::Identity(id);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the cast back decides whether it was exact")]
    let integer = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    #[expect(clippy::float_cmp, reason = "exactness is the question")]
    let exact = integer as f64 == value && integer != i64::MAX;
    if exact { Key::Integer(integer) } else { Key::Float(value.to_bits()) }
}
