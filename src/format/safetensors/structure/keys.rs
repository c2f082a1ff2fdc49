//! No map has a key twice.

use std::collections::HashSet;

use super::fault::{Step, damaged, fault, too_complex};
use crate::record::Code;
use crate::tensor::{Map, Node, NodeId};

/// A key costs a unit for each so many bytes.
const BYTES_PER_UNIT: usize = 64;

/// A key of a kind that is compared, as Python compares it: `1`, `True` and `1.0` are one key.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    None,
    Int(i64),
    Float(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// Holds a map's keys to what Python takes for keys.
///
/// Of tuples, complex numbers and what is equal by its name no equality is looked for: what they are used
/// for goes by their places.
///
/// # Errors
///
/// A key can't be one, is there twice, or all keys together cost too much.
pub(super) fn check(nodes: &[Node], map: &Map, budget: &mut usize) -> Step {
    let mut seen = HashSet::with_capacity(map.entries.len());
    for &(key, _) in &map.entries {
        *budget = match budget.checked_sub(cost(nodes.get(key.0 as usize))) {
            Some(left) => left,
            None => return too_complex("maps share long keys too often"),
        };
        if key_of(nodes, key)?.is_some_and(|key| !seen.insert(key)) {
            let message = "a map has a key twice: one reader takes the first, another the last";
            return Err(fault(Code::Ambiguous, message));
        }
    }
    Ok(())
}

fn key_of(nodes: &[Node], id: NodeId) -> Step<Option<Key<'_>>> {
    Ok(Some(match nodes.get(id.0 as usize) {
        Some(Node::None) => Key::None,
        Some(Node::Bool(value)) => Key::Int((*value).into()),
        Some(Node::Int(value)) => Key::Int(*value),
        Some(Node::Float(value)) if value.is_nan() => return Ok(None),
        Some(Node::Float(value)) => float_key(*value),
        Some(Node::Text(text)) => Key::Text(text),
        Some(Node::Bytes(bytes)) => Key::Bytes(bytes),
        Some(node @ (Node::List(_) | Node::Set(_) | Node::Map(..) | Node::ByteArray(_) | Node::Array(_))) => {
            return damaged(format_args!("a {} can't be a key", node.type_name()));
        }
        _ => return Ok(None),
    }))
}

/// What comparing a key costs: it is hashed.
fn cost(node: Option<&Node>) -> usize {
    let bytes = match node {
        Some(Node::Text(text)) => text.len(),
        Some(Node::Bytes(bytes)) => bytes.len(),
        _ => 0,
    };
    1 + bytes / BYTES_PER_UNIT
}

/// A float that is an integer equals that integer.
fn float_key(value: f64) -> Key<'static> {
    #[expect(clippy::cast_possible_truncation, reason = "the cast back decides whether it was exact")]
    let integer = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    #[expect(clippy::float_cmp, reason = "exactness is the question")]
    let is_exact = integer as f64 == value && integer != i64::MAX;
    if is_exact { Key::Int(integer) } else { Key::Float(value.to_bits()) }
}
