//! Errors, as Python has them.

use std::error::Error as _;
use std::io;
use std::path::Path;

use ckpt::{Error, ErrorKind};
use pyo3::exceptions::{PyException, PyFileNotFoundError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::records;

pyo3::create_exception!(
    _native,
    Unfit,
    PyException,
    "A value that no state can hold: `args` are where it is, and what it is."
);

/// Turns an error into the exception that a Python programmer expects.
///
/// Damage and misfit become the package's own exceptions; what the system said becomes an `OSError` with its number, so
/// that a missing file is a `FileNotFoundError`; a mistake of the caller becomes a `ValueError`.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    match error.kind() {
        ErrorKind::Corrupted => judged(py, error, "CorruptedError"),
        ErrorKind::Incompatible => judged(py, error, "IncompatibleError"),
        ErrorKind::Io => system(py, error),
        ErrorKind::Nothing => PyFileNotFoundError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// Makes one of the exceptions in `ckpt.errors`.
fn judged(py: Python<'_>, error: &Error, class: &str) -> PyErr {
    let make = || {
        let class = errors(py)?.getattr(class)?.cast_into::<PyType>()?;
        let path = error.path().map(|path| path.to_string_lossy().into_owned());
        let finding = error.finding().map(|finding| records::dict(py, finding)).transpose()?;
        // The path and the verdict stand before the message in the error's own text.
        let message = error.finding().map_or_else(|| error.to_string(), |finding| finding.message.clone());
        let whole = message_of(error).unwrap_or(message);
        class.call1((path, whole, finding))
    };
    make().map_or_else(|error| error, PyErr::from_value)
}

/// Returns an error's text without its path and its verdict, which stand in front of it.
fn message_of(error: &Error) -> Option<String> {
    let text = error.to_string();
    let text = match error.path() {
        Some(path) => text.strip_prefix(&format!("{}: ", path.display()))?,
        None => &text,
    };
    let text = text.strip_prefix("corrupted: ").or_else(|| text.strip_prefix("incompatible: "))?;
    Some(text.to_owned())
}

fn system(py: Python<'_>, error: &Error) -> PyErr {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.and_then(|source| number_of(py, source)) {
        Some(code) => {
            let (text, path) = (error.to_string(), error.path().map(Path::as_os_str));
            // Python shows the path behind the text.
            let place = error.path().map(|path| format!("{}: ", path.display())).unwrap_or_default();
            let text = text.strip_prefix(&place).unwrap_or(&text);
            // Python chooses the subclass by the number: `FileNotFoundError`, `PermissionError`.
            match py.get_type::<PyOSError>().call1((code, text, path)) {
                Ok(exception) => PyErr::from_value(exception),
                Err(error) => error,
            }
        }
        None if source.is_some_and(|source| source.kind() == io::ErrorKind::NotFound) => {
            PyFileNotFoundError::new_err(error.to_string())
        }
        None => PyOSError::new_err(error.to_string()),
    }
}

/// Returns the system's number of an error. That there is no room is known without asking the system, too.
fn number_of(py: Python<'_>, error: &io::Error) -> Option<i32> {
    let no_room = || py.import("errno")?.getattr("ENOSPC")?.extract::<i32>();
    let is_full = error.kind() == io::ErrorKind::StorageFull;
    error.raw_os_error().or_else(|| is_full.then(|| no_room().ok()).flatten())
}

fn errors(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    Ok(MODULE.get_or_try_init(py, || py.import("ckpt.errors").map(Bound::unbind))?.bind(py))
}
