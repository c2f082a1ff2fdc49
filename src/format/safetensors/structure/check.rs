//! What must hold of a tensor before anybody reads it or writes it.

use crate::Dtype;
use crate::record::TensorInfo;
use crate::tensor::{Body, Storage, Tensor, extent};

/// Holds a tensor to its storage, which is given where the tensor is strided.
///
/// # Errors
///
/// In words: the view reaches outside the storage, or the tensor has a property that its dtype can't have.
pub(in crate::format::safetensors) fn check_tensor(
    tensor: &Tensor,
    storage: Option<&Storage>,
) -> Result<(), String> {
    let dtype = tensor.dtype;
    if tensor.conjugated && !matches!(dtype, Dtype::C32 | Dtype::C64 | Dtype::C128) {
        return Err(format!("a tensor of {dtype} is conjugated: only complex ones can be"));
    }
    if tensor.requires_grad && !dtype.is_differentiable() {
        return Err(format!("a tensor of {dtype} requires gradients: only floats can"));
    }
    let count = TensorInfo::count(&tensor.shape);
    let is_countable = count.is_some_and(|count| i64::try_from(count).is_ok())
        && tensor.shape.iter().all(|&length| i64::try_from(length).is_ok());
    if !is_countable {
        return Err("a tensor has more elements than any machine can count".to_owned());
    }
    let Body::Strided { offset, strides, .. } = &tensor.body else { return Ok(()) };
    let Some(storage) = storage else { return Err("a tensor has no storage".to_owned()) };
    let elements = extent(*offset, &tensor.shape, strides)
        .map_err(|error| format!("a tensor's layout is impossible: {error}"))?;
    match dtype.tensor_bytes(elements) {
        Some(bytes) if bytes <= storage.bytes => Ok(()),
        _ => Err(format!(
            "a tensor of {elements} elements of {dtype} reaches outside its storage of {} bytes",
            storage.bytes
        )),
    }
}
