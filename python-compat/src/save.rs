//! Saving.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ckpt::format::torch::Pickled;
use ckpt::io::Cancel;
use ckpt::io::commit::{Durability, LocalDisk, clean_beside, remove_durably, write_small};
use ckpt::record::Level;
use ckpt::save::{self as core, Format};
use ckpt::tensor::{Data, Source as _};
use ckpt::{Error, ErrorKind, SaveOptions};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::{self, Unfit};
use crate::interrupt::cancellable;
use crate::memory::Memory;
use crate::options::SaveArguments;
use crate::state::take::take;

/// Saves a value that a state can hold.
#[pyfunction]
pub(crate) fn save<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    path: PathBuf,
    arguments: SaveArguments,
) -> PyResult<Bound<'py, PyDict>> {
    let state = take(value)?;
    let cancel = Cancel::default();
    let options = arguments.options()?.with_cancel(cancel.clone());
    let saved = cancellable(py, state.len_bytes(), &cancel, || core::save(&path, &state, &options))?;
    described(py, &saved.map_err(|error| refused(py, &error, &path, &options))?)
}

/// A state that PyTorch's safe reader has no form for is one for PyTorch's own serializer.
fn refused(py: Python<'_>, error: &Error, path: &Path, options: &SaveOptions) -> PyErr {
    let format = options.format.or_else(|| Format::of(path).ok());
    if error.kind() == ErrorKind::Usage && format == Some(Format::Torch) {
        return Unfit::new_err((String::new(), error.to_string()));
    }
    errors::raise(py, error)
}

/// Saves a pickle and the storages that it refers to, in the order of their keys.
#[pyfunction]
pub(crate) fn save_pickled<'py>(
    py: Python<'py>,
    pickle: &Bound<'py, PyBytes>,
    storages: Vec<Bound<'py, PyAny>>,
    path: PathBuf,
    arguments: SaveArguments,
) -> PyResult<Bound<'py, PyDict>> {
    let data = |storage: &Bound<'py, PyAny>| Ok(Data::new(Arc::new(Memory::of(storage)?)));
    let data = storages.iter().map(data).collect::<PyResult<Vec<_>>>()?;
    let bytes = data.iter().map(Data::len).sum();
    let pickle = pickle.as_bytes().to_vec();
    let pickled = Pickled::new(pickle, data).map_err(|error| errors::raise(py, &error))?;
    let cancel = Cancel::default();
    let options = arguments.options()?.with_cancel(cancel.clone());
    let saved = cancellable(py, bytes, &cancel, || core::save_pickled(&path, &pickled, &options))?;
    let described = described(py, &saved.map_err(|error| errors::raise(py, &error))?)?;
    described.set_item("names_to_trust", pickled.names_to_trust())?;
    Ok(described)
}

/// Writes a small file by the same commit as a checkpoint: whole, durable, or not at all. What killed processes left
/// beside it is removed.
#[pyfunction]
pub(crate) fn write_file(py: Python<'_>, path: PathBuf, bytes: &Bound<'_, PyBytes>) -> PyResult<()> {
    let bytes = bytes.as_bytes().to_vec();
    let written = py.detach(|| {
        clean_beside(&LocalDisk, &path);
        write_small(&LocalDisk, &path, &bytes, Durability::Full)
    });
    written.map_err(|error| errors::raise(py, &error))
}

/// Removes a file, durably; returns whether there was one.
#[pyfunction]
pub(crate) fn remove_file(py: Python<'_>, path: PathBuf) -> PyResult<bool> {
    let removed = py.detach(|| remove_durably(&LocalDisk, &path));
    removed.map_err(|error| errors::raise(py, &error))
}

/// Describes what was saved, for `ckpt.records.Saved`.
pub(crate) fn described<'py>(py: Python<'py>, saved: &ckpt::Saved) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("path", &saved.path)?;
    dict.set_item("format", saved.format.as_str())?;
    dict.set_item("bytes", saved.bytes)?;
    dict.set_item("proof", saved.proof.id())?;
    dict.set_item("validated", saved.validated.map(Level::as_str))?;
    dict.set_item("writing_seconds", saved.writing.as_secs_f64())?;
    dict.set_item("validating_seconds", saved.validating.as_secs_f64())?;
    dict.set_item("seconds", saved.elapsed.as_secs_f64())?;
    Ok(dict)
}
