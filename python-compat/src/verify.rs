//! Checking.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use ckpt::validate::{self as core, Batch, Look, discover};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors;
use crate::options::VerifyArguments;
use crate::records;

/// How long a check runs until the interpreter is asked for signals.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// Checks one checkpoint. Returns the report as a dict.
#[pyfunction]
pub(crate) fn verify(
    py: Python<'_>,
    path: PathBuf,
    arguments: VerifyArguments,
) -> PyResult<Bound<'_, PyAny>> {
    let options = arguments.options(py)?;
    let report = interruptible(py, move || core::verify(&path, &options))?;
    records::dict(py, &report)
}

/// Checks all checkpoints at and below paths, and hands each report to `hear` as it comes, in order. Returns what was
/// found but can't be looked at, as findings with their paths.
#[pyfunction]
pub(crate) fn verify_all(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    arguments: VerifyArguments,
    hear: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let options = arguments.options(py)?;
    let mut batch =
        interruptible(py, move || Batch::new(discover(&paths, Look::Contents).candidates, options))?;
    loop {
        let (rest, report) = interruptible(py, move || {
            let report = batch.next();
            (batch, report)
        })?;
        let Some(report) = report else { return Ok(()) };
        hear.call1((records::dict(py, &report)?,))?;
        batch = rest;
    }
}

/// Reads what a checkpoint says of itself. Returns it as a dict.
#[pyfunction]
pub(crate) fn inspect(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let info = py.detach(|| core::inspect(&path)).map_err(|error| errors::raise(py, &error))?;
    records::dict(py, &info)
}

/// Does work on another thread, so that Ctrl-C is heard meanwhile. The work is left alone then: it reads, and ends.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (told, results) = channel();
    // There is nobody to tell when Ctrl-C came.
    let worker = thread::Builder::new().name("ckpt-verify".to_owned());
    worker.spawn(move || drop(told.send(work())))?;
    let results = Mutex::new(results);
    loop {
        let received = py.detach(|| match results.lock() {
            Ok(results) => results.recv_timeout(SIGNALS_EVERY),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        });
        match received {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the check ended without a result: please report this"));
            }
        }
    }
}
