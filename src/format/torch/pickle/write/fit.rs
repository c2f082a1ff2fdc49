//! Which values PyTorch's safe reader takes, and in which form.

use std::collections::HashSet;

use crate::Dtype;
use crate::format::torch::pickle::globals::{self, Known};
use crate::format::torch::pickle::{call, scalar};
use crate::tensor::{Map, MapKind, Node, NodeId, Tree};

/// The most bytes of an integer: `LONG1` counts them in one byte, and the safe reader has no `LONG4`.
const MAX_INTEGER_BYTES: usize = 255;
/// The safe reader takes text up to the length that four bytes can say.
const MAX_TEXT_BYTES: u64 = u32::MAX as u64;
/// Where there is no form that the safe reader takes.
const NOT_SAFE: &str = "PyTorch's safe reader (weights_only=True) has no form for it";

/// Checks one value, without those that it contains; of a tensor, only that it is one.
pub(super) fn check(tree: &Tree, node: &Node) -> Result<(), String> {
    match node {
        Node::BigInt(bytes) if bytes.len() > MAX_INTEGER_BYTES => {
            Err(format!("an integer of {} bytes; at most {MAX_INTEGER_BYTES} can be read", bytes.len()))
        }
        Node::None
        | Node::Bool(_)
        | Node::Int(_)
        | Node::BigInt(_)
        | Node::Float(_)
        | Node::Complex(..)
        | Node::List(_)
        | Node::Tuple(_)
        | Node::Size(_)
        | Node::Storage(_)
        | Node::Tensor(_) => Ok(()),
        Node::Text(text) => check_length(text.len() as u64),
        Node::SurrogateText(bytes) => {
            check_length(bytes.len() as u64)?;
            scalar::utf8(bytes).map(drop).map_err(|_| "its bytes are no text".to_owned())
        }
        // Bytes are written as text, in which those from 128 on take two.
        Node::Bytes(bytes) | Node::ByteArray(bytes) => {
            check_length(bytes.iter().map(|byte| 1 + u64::from(byte >> 7)).sum())
        }
        Node::Set(items) => items.iter().try_for_each(|&item| check_key(tree, item)),
        Node::Map(kind, map) => map.as_ref().map_or(Ok(()), |map| check_map(tree, *kind, map)),
        Node::Device(name) => known(call::device(name).is_ok(), "device"),
        Node::Layout(name) => known(call::layout(name).is_ok(), "layout"),
        Node::QScheme(name) => {
            known(globals::lookup(&format!("torch.{name}")) == Some(Known::QScheme), "scheme")
        }
        Node::Dtype(dtype) => check_dtype(*dtype),
        Node::Global(name) => listed(globals::lookup(name).is_some_and(Known::in_torch)),
        Node::Object(_) => listed(false),
        Node::Array(_) => Err(format!("{NOT_SAFE}; make a tensor of it")),
        Node::FrozenSet(_) => Err(format!("{NOT_SAFE}; make a set or a tuple of it")),
        Node::Floats(_) => Err(Node::PACKED.to_owned()),
        Node::ArrayDtype(_) => Err(NOT_SAFE.to_owned()),
    }
}

/// Refuses a name that isn't on the list.
fn listed(is_listed: bool) -> Result<(), String> {
    if is_listed {
        return Ok(());
    }
    Err("it isn't on the list of names that PyTorch's safe reader (weights_only=True) takes".to_owned())
}

/// Text and bytes have a length of four bytes.
fn check_length(bytes: u64) -> Result<(), String> {
    if bytes > MAX_TEXT_BYTES {
        return Err(format!("it has {bytes} bytes; at most {MAX_TEXT_BYTES} can be written"));
    }
    Ok(())
}

/// Refuses a name that PyTorch doesn't know.
fn known(is_known: bool, what: &str) -> Result<(), String> {
    if is_known { Ok(()) } else { Err(format!("PyTorch knows no such {what}")) }
}

/// PyTorch has every type but safetensors' single 4-bit float.
pub(super) fn check_dtype(dtype: Dtype) -> Result<(), String> {
    if dtype == Dtype::F4 {
        return Err(format!("PyTorch has no {dtype}: it counts in pairs, {}", Dtype::F4x2));
    }
    Ok(())
}

/// Keys that can be keys, none of them twice, and attributes only where there can be some.
fn check_map(tree: &Tree, kind: MapKind, map: &Map) -> Result<(), String> {
    let mut texts = HashSet::new();
    for &(key, _) in &map.entries {
        check_key(tree, key)?;
        if let Node::Text(text) = tree.node(key)
            && !texts.insert(&**text)
        {
            return Err(format!("the key '{}' is there twice", text.escape_debug()));
        }
    }
    match map.attributes {
        None => Ok(()),
        Some(_) if kind == MapKind::Dict => Err("a plain dict has no attributes".to_owned()),
        Some(attributes) => check_attributes(tree, attributes),
    }
}

/// Refuses a key that Python can't hash. What a tuple contains is seen when the pickle is read back.
fn check_key(tree: &Tree, key: NodeId) -> Result<(), String> {
    match tree.node(key) {
        key @ (Node::List(_) | Node::Set(_) | Node::Map(..) | Node::ByteArray(_)) => {
            Err(format!("a {} can't be a key or an item of a set", key.type_name()))
        }
        _ => Ok(()),
    }
}

/// Attributes are a map whose keys are text.
pub(super) fn check_attributes(tree: &Tree, attributes: NodeId) -> Result<(), String> {
    let is_text = |&(key, _): &(NodeId, NodeId)| matches!(tree.node(key), Node::Text(_));
    match tree.node(attributes) {
        Node::Map(MapKind::Dict, Some(map)) if map.entries.iter().all(is_text) => Ok(()),
        Node::Map(MapKind::Dict, None) => Ok(()),
        _ => Err("its attributes are no dict of names".to_owned()),
    }
}
