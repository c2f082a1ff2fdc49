//! Loading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ckpt::io::Cancel;
use ckpt::save as core;
use ckpt::save::Target;
use ckpt::{Dtype, Error};
use pyo3::prelude::*;

use crate::errors;
use crate::interrupt::{LONG_BYTES, cancellable};
use crate::memory::{Memory, Storages};
use crate::options::LoadArguments;
use crate::state::give::give;
use crate::state::torch::Torch;

/// Loads a checkpoint, its tensors on a device; raises `Unfit` where it holds what only PyTorch can make.
#[pyfunction]
#[pyo3(signature = (path, arguments, device=None))]
pub(crate) fn load<'py>(
    py: Python<'py>,
    path: PathBuf,
    arguments: LoadArguments,
    device: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let cancel = Cancel::default();
    let options = arguments.options(py)?.with_memory(Arc::new(Storages)).with_cancel(cancel.clone());
    if size_of(&path) >= LONG_BYTES {
        // Imported here: the threads that PyTorch starts then are named after the one that imports it. Without PyTorch,
        // plain values can be loaded.
        drop(Torch::get(py));
    }
    let state = cancellable(py, size_of(&path), &cancel, || core::load(&path, &options))?;
    give(py, &state.map_err(|error| errors::raise(py, &error))?, device)
}

/// Returns the size of a file, as far as it can be known: what is wrong is said by who reads it.
fn size_of(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Fills tensors that are there already: contiguous ones on the host that share no memory, by their names in the
/// checkpoint.
#[pyfunction]
pub(crate) fn load_into(
    py: Python<'_>,
    path: PathBuf,
    tensors: Vec<(String, Bound<'_, PyAny>)>,
    arguments: LoadArguments,
) -> PyResult<()> {
    let cancel = Cancel::default();
    let options = arguments.options(py)?.with_cancel(cancel.clone());
    let mut places =
        tensors.iter().map(|(name, tensor)| Place::of(py, name, tensor)).collect::<PyResult<Vec<_>>>()?;
    refuse_shared(&places).map_err(|error| errors::raise(py, &error))?;
    let filled = cancellable(py, size_of(&path), &cancel, || {
        let mut targets: Vec<_> = places.iter_mut().map(Place::target).collect::<Result<_, _>>()?;
        core::load_into(&path, &mut targets, &options)
    })?;
    filled.map_err(|error| errors::raise(py, &error))
}

/// Each target is borrowed to be written to: no byte may belong to two.
fn refuse_shared(places: &[Place]) -> Result<(), Error> {
    let mut sorted: Vec<_> = places.iter().filter(|place| place.len > 0).collect();
    sorted.sort_by_key(|place| place.first_byte());
    let shared = sorted.iter().zip(sorted.iter().skip(1));
    match shared.into_iter().find(|(one, next)| one.first_byte() + one.len > next.first_byte()) {
        Some((one, next)) => Err(Error::usage(format!("'{}' and '{}' share memory", one.name, next.name))),
        None => Ok(()),
    }
}

/// A tensor that is to be filled.
struct Place {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    /// Where it begins in its storage, in bytes.
    start: usize,
    len: usize,
    memory: Memory,
}

impl Place {
    fn of(py: Python<'_>, name: &str, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        let usage = |what: &str| errors::raise(py, &Error::usage(format!("'{name}' {what}")));
        let torch = Torch::get(py)?;
        let dtype =
            torch.dtype_of(&tensor.getattr("dtype")?).ok_or_else(|| usage("has a dtype of its own"))?;
        let is_plain =
            tensor.getattr("is_cpu")?.is_truthy()? && tensor.call_method0("is_contiguous")?.is_truthy()?;
        if !is_plain {
            return Err(usage("isn't contiguous memory of the host"));
        }
        let memory = Memory::of(&tensor.call_method0("untyped_storage")?)?;
        let item: usize = tensor.call_method0("element_size")?.extract()?;
        let count: usize = tensor.call_method0("numel")?.extract()?;
        let offset: usize = tensor.call_method0("storage_offset")?.extract()?;
        let shape = tensor.call_method0("size")?.extract()?;
        Ok(Self { name: name.to_owned(), dtype, shape, start: offset * item, len: count * item, memory })
    }

    /// Returns the address of its first byte.
    fn first_byte(&self) -> usize {
        self.memory.place().0 + self.start
    }

    fn target(&mut self) -> Result<Target<'_>, Error> {
        let Self { name, dtype, shape, start, len, memory } = self;
        let bytes = memory
            .part_mut(*start, *len)
            .ok_or_else(|| Error::usage(format!("'{name}' reaches beyond its storage")))?;
        Ok(Target { name, dtype: *dtype, shape, bytes })
    }
}
