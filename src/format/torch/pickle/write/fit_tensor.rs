//! Which tensors PyTorch rebuilds.

use super::fit;
use crate::Dtype;
use crate::record::TensorInfo;
use crate::tensor::{Body, Node, NodeId, StorageId, Tensor, Tree, extent};

/// Checks one tensor, without the values that it is made of.
pub(super) fn check(tree: &Tree, tensor: &Tensor) -> Result<(), String> {
    fit::check_dtype(tensor.dtype)?;
    if let Some(attributes) = tensor.attributes {
        fit::check_attributes(tree, attributes)?;
    }
    if tensor.requires_grad && !tensor.dtype.is_differentiable() {
        return Err(format!("a tensor of {} can't require gradients", tensor.dtype));
    }
    if tensor.conjugated && !matches!(tensor.dtype, Dtype::C32 | Dtype::C64 | Dtype::C128) {
        return Err(format!("a tensor of {} can't be conjugated", tensor.dtype));
    }
    if TensorInfo::count(&tensor.shape).is_none_or(|count| i64::try_from(count).is_err()) {
        return Err("it has more elements than PyTorch can count".to_owned());
    }
    match &tensor.body {
        Body::Strided { storage, offset, strides, quantizer } if !is_meta(tree, *storage) => {
            check_quantized(tree, tensor, *quantizer)?;
            check_extent(tree, tensor, *storage, *offset, strides)
        }
        Body::Strided { quantizer: Some(_), .. } => Err("it is quantized and has no elements".to_owned()),
        Body::Strided { strides, .. } => check_bodiless(tensor, strides.len()),
        Body::Meta => check_bodiless(tensor, tensor.shape.len()),
        Body::Sparse { layout, parts, .. } => {
            check_composed(tensor)?;
            let names: Vec<_> = parts.iter().map(|&(name, _)| name).collect();
            if names != sparse_parts(layout) {
                return Err(format!("PyTorch has no layout '{}' of these parts", layout.escape_debug()));
            }
            parts.iter().try_for_each(|&(_, part)| check_part(tree, part).map(drop))?;
            let values = parts.last().map(|&(_, values)| check_part(tree, values)).transpose()?;
            same(values.map(|values| values.dtype) == Some(tensor.dtype), "type")
        }
        Body::Nested { buffer, sizes, strides, offsets } => {
            check_composed(tensor)?;
            let others = [*sizes, *strides, *offsets];
            others.into_iter().try_for_each(|part| check_part(tree, part).map(drop))?;
            let buffer = check_part(tree, *buffer)?;
            same(buffer.dtype == tensor.dtype, "type")?;
            same(buffer.shape == tensor.shape, "shape")
        }
        Body::Converted(source) => {
            check_flags(tensor)?;
            check_part(tree, *source).map(drop)
        }
    }
}

/// Refuses a tensor that says other things of itself than what it is made of does.
fn same(is_same: bool, what: &str) -> Result<(), String> {
    if is_same { Ok(()) } else { Err(format!("it has another {what} than what it is made of")) }
}

/// Returns whether a storage has no bytes, by its device. Tensors of such a one are rebuilt without it.
pub(super) fn is_meta(tree: &Tree, id: StorageId) -> bool {
    tree.storage(id).is_some_and(|storage| storage.device == "meta")
}

/// The names of the parts of each sparse layout, in the order in which PyTorch takes them.
fn sparse_parts(layout: &str) -> &'static [&'static str] {
    match layout {
        "sparse_coo" => &["indices", "values"],
        "sparse_csr" | "sparse_bsr" => &["crow_indices", "col_indices", "values"],
        "sparse_csc" | "sparse_bsc" => &["ccol_indices", "row_indices", "values"],
        _ => &[],
    }
}

/// Only plain strided tensors are read as conjugated or negated.
fn check_flags(tensor: &Tensor) -> Result<(), String> {
    if tensor.conjugated || tensor.negated {
        return Err("only a strided tensor can be conjugated or negated".to_owned());
    }
    Ok(())
}

/// A tensor of others has no flags of its own; as a parameter it can require gradients.
fn check_composed(tensor: &Tensor) -> Result<(), String> {
    check_flags(tensor)?;
    if tensor.requires_grad && !tensor.parameter {
        return Err("PyTorch writes sparse and nested tensors without requires_grad".to_owned());
    }
    Ok(())
}

/// A tensor without elements.
fn check_bodiless(tensor: &Tensor, strides: usize) -> Result<(), String> {
    check_flags(tensor)?;
    if is_quantized(tensor.dtype) {
        return Err("it is quantized and has no elements".to_owned());
    }
    if strides != tensor.shape.len() {
        return Err("it hasn't one stride for each dimension".to_owned());
    }
    Ok(())
}

/// What a tensor is made of must be a tensor.
fn check_part(tree: &Tree, part: NodeId) -> Result<&Tensor, String> {
    match tree.node(part) {
        Node::Tensor(tensor) => Ok(tensor),
        other => Err(format!("it is made of a value of type {}", other.type_name())),
    }
}

/// Returns whether a type is a quantized one.
fn is_quantized(dtype: Dtype) -> bool {
    dtype.torch_name().starts_with('q')
}

/// A quantized type has a quantizer, and no other has. What it is made of is checked when the pickle is read
/// back.
fn check_quantized(tree: &Tree, tensor: &Tensor, quantizer: Option<NodeId>) -> Result<(), String> {
    let Some(quantizer) = quantizer else {
        let plain = !is_quantized(tensor.dtype);
        return if plain { Ok(()) } else { Err("it is quantized and has no scale".to_owned()) };
    };
    check_flags(tensor)?;
    match tree.node(quantizer) {
        Node::Tuple(_) if is_quantized(tensor.dtype) => Ok(()),
        _ => Err(format!("a tensor of {} with a quantizer of another kind", tensor.dtype)),
    }
}

/// Every element lies in the storage, and every length is one that PyTorch can count.
fn check_extent(
    tree: &Tree,
    tensor: &Tensor,
    storage: StorageId,
    offset: u64,
    strides: &[u64],
) -> Result<(), String> {
    let Some(storage) = tree.storage(storage) else { return Err("its storage is missing".to_owned()) };
    let lengths = tensor.shape.iter().chain(strides).chain([&offset, &storage.bytes]);
    if lengths.into_iter().any(|length| i64::try_from(*length).is_err()) {
        return Err("a length or a stride is beyond what PyTorch can count".to_owned());
    }
    let elements = extent(offset, &tensor.shape, strides).map_err(|error| error.to_string())?;
    match tensor.dtype.tensor_bytes(elements) {
        Some(bytes) if bytes <= storage.bytes => Ok(()),
        _ => Err(format!("it reaches past the end of its storage of {} bytes", storage.bytes)),
    }
}
