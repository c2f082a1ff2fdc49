//! Rows of embeddings: one tensor, or one NumPy array, by itself and not in a state.

use std::sync::Arc;

use ckpt::tensor::{Data, TensorView};
use ckpt::{Dtype, Error};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::torch::Torch;
use crate::errors;
use crate::memory::Memory;

/// Takes a tensor on the host, or an array, that has no gaps between its elements. Nothing is copied.
pub(crate) fn rows_of(value: &Bound<'_, PyAny>) -> PyResult<TensorView<'static>> {
    let py = value.py();
    let torch = Torch::loaded(py)?;
    let view = match torch {
        Some(torch) if torch.is_any_tensor(value)? => {
            let dtype = torch.dtype_of(&value.getattr("dtype")?);
            let shape: Vec<u64> = value.call_method0("size")?.extract()?;
            view(dtype.ok_or_else(|| unknown(value))?, shape, of_tensor(py, value)?)
        }
        _ => {
            let name: String = value.getattr("dtype")?.getattr("name")?.extract()?;
            let dtype = Dtype::ALL.iter().copied().find(|dtype| dtype.torch_name() == name);
            let shape: Vec<u64> = value.getattr("shape")?.extract()?;
            let memory = Memory::of_array(value)?.ok_or_else(|| gaps(py))?;
            view(dtype.ok_or_else(|| unknown(value))?, shape, Data::new(Arc::new(memory)))
        }
    };
    view.map_err(|error| errors::raise(py, &error))
}

fn view(dtype: Dtype, shape: Vec<u64>, data: Data<'static>) -> Result<TensorView<'static>, Error> {
    TensorView::new(dtype, shape, data)
}

fn of_tensor(py: Python<'_>, tensor: &Bound<'_, PyAny>) -> PyResult<Data<'static>> {
    let is_plain =
        tensor.getattr("is_cpu")?.is_truthy()? && tensor.call_method0("is_contiguous")?.is_truthy()?;
    if !is_plain {
        return Err(gaps(py));
    }
    let memory = Memory::of(&tensor.call_method0("untyped_storage")?)?;
    let start: u64 = tensor.call_method0("storage_offset")?.extract()?;
    let item: u64 = tensor.call_method0("element_size")?.extract()?;
    let count: u64 = tensor.call_method0("numel")?.extract()?;
    // What PyTorch says of a tensor lies within its storage; an empty one may begin anywhere.
    let start = if count == 0 { 0 } else { start.saturating_mul(item) };
    let end = start.saturating_add(count.saturating_mul(item));
    Data::part(Arc::new(memory), start..end).map_err(|error| errors::raise(py, &error))
}

fn gaps(py: Python<'_>) -> PyErr {
    errors::raise(py, &Error::usage("the rows aren't contiguous memory of the host"))
}

fn unknown(value: &Bound<'_, PyAny>) -> PyErr {
    let dtype = value.getattr("dtype").map(|dtype| dtype.to_string());
    PyTypeError::new_err(format!("rows of {} can't be saved", dtype.unwrap_or_default()))
}
