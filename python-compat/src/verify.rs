//! Checking.

use std::path::PathBuf;

use ckpt::VerifyOptions;
use ckpt::io::Cancel;
use ckpt::validate::{self as core, Batch, Look, discover};
use pyo3::prelude::*;

use crate::errors;
use crate::interrupt::interruptible;
use crate::options::VerifyArguments;
use crate::records;

/// Checks one checkpoint. Returns the report as a dict.
#[pyfunction]
pub(crate) fn verify(
    py: Python<'_>,
    path: PathBuf,
    arguments: VerifyArguments,
) -> PyResult<Bound<'_, PyAny>> {
    let cancel = Cancel::default();
    let options = arguments.options(py)?.with_cancel(cancel.clone());
    let report = interruptible(py, move || core::verify(&path, &options));
    let report = report.inspect_err(|_| cancel.cancel())?;
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
    let cancel = Cancel::default();
    let options = arguments.options(py)?.with_cancel(cancel.clone());
    hear_all(py, paths, options, hear).inspect_err(|_| cancel.cancel())
}

fn hear_all(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    options: VerifyOptions,
    hear: &Bound<'_, PyAny>,
) -> PyResult<()> {
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
