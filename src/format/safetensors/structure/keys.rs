//! No map has a key twice.

use std::collections::HashSet;

use crate::tensor::{Map, Node, NodeId};

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
/// In words: a key that can't be one, or one that is there twice.
pub(super) fn check(nodes: &[Node], map: &Map) -> Result<(), String> {
    let mut seen = HashSet::with_capacity(map.entries.len());
    for &(key, _) in &map.entries {
        if key_of(nodes, key)?.is_some_and(|key| !seen.insert(key)) {
            return Err("a map has a key twice: one reader takes the first, another the last".to_owned());
        }
    }
    Ok(())
}

fn key_of(nodes: &[Node], id: NodeId) -> Result<Option<Key<'_>>, String> {
    Ok(Some(match nodes.get(id.0 as usize) {
        Some(Node::None) => Key::None,
        Some(Node::Bool(value)) => Key::Int((*value).into()),
        Some(Node::Int(value)) => Key::Int(*value),
        Some(Node::Float(value)) if value.is_nan() => return Ok(None),
        Some(Node::Float(value)) => float_key(*value),
        Some(Node::Text(text)) => Key::Text(text),
        Some(Node::Bytes(bytes)) => Key::Bytes(bytes),
        Some(node @ (Node::List(_) | Node::Set(_) | Node::Map(..) | Node::ByteArray(_) | Node::Array(_))) => {
            return Err(format!("a {} can't be a key", node.type_name()));
        }
        _ => return Ok(None),
    }))
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
