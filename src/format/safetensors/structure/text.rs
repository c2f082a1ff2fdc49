//! A tree as text.

use std::collections::HashSet;

use super::wire::{ArrayText, Base64, Bits, MapText, ObjectText, SparseText, StorageText, Tagged};
use super::wire::{TensorText, Value};
use super::{VERSION, row_major};
use crate::record::TensorInfo;
use crate::tensor::{Array, ArrayData, Body, Map, MapKind, Node, NodeId, Object, Storage, Tensor};

/// Returns the structure of a tree whose nodes refer only to nodes before them, the root last.
///
/// `stored` has, for each storage, the header's tensor that holds its bytes.
pub(in crate::format::safetensors) fn text(
    nodes: &[Node],
    storages: &[Storage],
    stored: &[Option<TensorInfo>],
) -> String {
    let mut text = format!("{{\"version\":{VERSION},\"storages\":[");
    for (at, storage) in storages.iter().enumerate() {
        let info = stored.get(at).and_then(Option::as_ref);
        push(&mut text, at, &storage_text(storage, info));
    }
    text.push_str("],\"nodes\":[");
    let mut described = HashSet::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut value = value(node);
        if let Value::Tagged(Tagged::Tensor(tensor)) = &mut value
            && let Some(storage) = tensor.storage
            && let Some(Some(info)) = stored.get(storage as usize)
            && described.insert(storage)
        {
            tensor.dtype = tensor.dtype.filter(|dtype| *dtype != info.dtype);
            tensor.shape = tensor.shape.take().filter(|shape| *shape != info.shape);
        }
        push(&mut text, at, &value);
    }
    text.push_str("]}");
    text
}

/// Appends one item of a list.
fn push(text: &mut String, at: usize, item: &impl serde::Serialize) {
    if at > 0 {
        text.push(',');
    }
    // Strings and numbers can't fail to be JSON.
    text.push_str(&serde_json::to_string(item).unwrap_or_default());
}

fn storage_text(storage: &Storage, info: Option<&TensorInfo>) -> StorageText {
    StorageText {
        tensor: info.map(|info| info.name.clone()),
        part_of: storage.part_of.map(|(whole, offset)| (whole.0, offset)),
        bytes: Some(storage.bytes).filter(|bytes| info.is_none_or(|info| info.bytes != *bytes)),
        dtype: storage.dtype.filter(|dtype| info.is_none_or(|info| info.dtype != *dtype)),
        untyped: storage.dtype.is_none(),
        device: Some(storage.device.clone()).filter(|device| device != "cpu"),
    }
}

fn value(node: &Node) -> Value {
    Value::Tagged(match node {
        Node::None => return Value::None,
        Node::Bool(value) => return Value::Bool(*value),
        Node::Int(value) => return Value::Int(*value),
        Node::Text(text) => return Value::Text(text.clone()),
        Node::BigInt(bytes) => Tagged::Integer(Base64(bytes.clone())),
        Node::Float(value) => Tagged::Float(Bits(*value)),
        Node::Complex(re, im) => Tagged::Complex(Bits(*re), Bits(*im)),
        Node::SurrogateText(bytes) => Tagged::Surrogates(Base64(bytes.clone())),
        Node::Bytes(bytes) => Tagged::Bytes(Base64(bytes.clone())),
        Node::ByteArray(bytes) => Tagged::Bytearray(Base64(bytes.clone())),
        Node::List(items) => Tagged::List(numbers(items)),
        // Refused before: there is no form for it.
        Node::Floats(_) => Tagged::List(Vec::new()),
        Node::Tuple(items) => Tagged::Tuple(numbers(items)),
        Node::Set(items) => Tagged::Set(numbers(items)),
        Node::FrozenSet(items) => Tagged::Frozenset(numbers(items)),
        Node::Map(MapKind::Dict, map) => Tagged::Dict(map_text(map.as_deref())),
        Node::Map(MapKind::OrderedDict, map) => Tagged::OrderedDict(map_text(map.as_deref())),
        Node::Map(MapKind::Counter, map) => Tagged::Counter(map_text(map.as_deref())),
        Node::Size(lengths) => Tagged::Size(lengths.clone()),
        Node::Device(name) => Tagged::Device(name.clone()),
        Node::Dtype(dtype) => Tagged::Dtype(*dtype),
        Node::Layout(name) => Tagged::Layout(name.clone()),
        Node::QScheme(name) => Tagged::Qscheme(name.clone()),
        Node::Storage(storage) => Tagged::Storage(storage.0),
        Node::Tensor(tensor) => Tagged::Tensor(Box::new(tensor_text(tensor))),
        Node::Array(array) => Tagged::Array(Box::new(array_text(array))),
        Node::ArrayDtype(name) => Tagged::ArrayDtype(name.clone()),
        Node::Global(name) => Tagged::Global(name.clone()),
        Node::Object(object) => Tagged::Object(Box::new(object_text(object))),
    })
}

fn numbers(items: &[NodeId]) -> Vec<u32> {
    items.iter().map(|id| id.0).collect()
}

fn pairs(entries: &[(NodeId, NodeId)]) -> Vec<(u32, u32)> {
    entries.iter().map(|(key, value)| (key.0, value.0)).collect()
}

fn map_text(map: Option<&Map>) -> MapText {
    map.map_or_else(MapText::default, |map| MapText {
        entries: pairs(&map.entries),
        attributes: map.attributes.map(|id| id.0),
    })
}

fn array_text(array: &Array) -> ArrayText {
    let (bytes, values) = match array.data {
        ArrayData::Missing => (None, None),
        ArrayData::Bytes(id) => (Some(id.0), None),
        ArrayData::Values(id) => (None, Some(id.0)),
    };
    let Array { dtype, shape, fortran, scalar, .. } = array.clone();
    ArrayText { dtype, shape, fortran, scalar, bytes, values }
}

fn object_text(object: &Object) -> ObjectText {
    ObjectText {
        global: object.global.clone(),
        arguments: object.arguments.0,
        state: object.state.map(|id| id.0),
        items: numbers(&object.items),
        entries: pairs(&object.entries),
    }
}

fn tensor_text(tensor: &Tensor) -> TensorText {
    let mut text = TensorText {
        dtype: Some(tensor.dtype),
        shape: Some(tensor.shape.clone()),
        requires_grad: tensor.requires_grad,
        parameter: tensor.parameter,
        conjugated: tensor.conjugated,
        negated: tensor.negated,
        attributes: tensor.attributes.map(|id| id.0),
        ..TensorText::default()
    };
    match &tensor.body {
        Body::Strided { storage, offset, strides, quantizer } => {
            text.storage = Some(storage.0);
            text.offset = *offset;
            text.strides = Some(strides.clone()).filter(|strides| *strides != row_major(&tensor.shape));
            text.quantizer = quantizer.map(|id| id.0);
        }
        Body::Sparse { layout, parts, coalesced } => {
            let parts = parts.iter().map(|(name, part)| ((*name).to_owned(), part.0)).collect();
            text.sparse = Some(SparseText { layout: layout.clone(), parts, coalesced: *coalesced });
        }
        Body::Nested { buffer, sizes, strides, offsets } => {
            text.nested = Some([buffer.0, sizes.0, strides.0, offsets.0]);
        }
        Body::Converted(source) => text.converted = Some(source.0),
        Body::Meta => {}
    }
    text
}
