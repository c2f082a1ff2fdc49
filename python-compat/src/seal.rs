//! Seals: the digests of files that carry no proof, noted beside them.

use std::path::PathBuf;

use ckpt::VerifyOptions;
use ckpt::io::Cancel;
use ckpt::io::commit::Durability;
use ckpt::save::{self as core, SealOptions};
use ckpt::validate::verify_sealed as core_verify_sealed;
use pyo3::prelude::*;

use crate::errors;
use crate::interrupt::interruptible;
use crate::options::{algorithm, level};
use crate::records;

/// What `seal` can be asked for, as `ckpt/_seal.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct SealArguments {
    level: String,
    algorithm: String,
    renew: bool,
    durable: bool,
    threads: Option<usize>,
}

impl SealArguments {
    fn options(self) -> PyResult<SealOptions> {
        let mut options = SealOptions::default().with_algorithm(algorithm(&self.algorithm)?);
        options.verify = checks(Some(&self.level), self.threads)?;
        options.renew = self.renew;
        options.durability = if self.durable { Durability::Full } else { Durability::None };
        Ok(options)
    }
}

/// Notes a file's size and digests beside it. Returns what became of it, as a dict.
#[pyfunction]
pub(crate) fn seal(py: Python<'_>, path: PathBuf, arguments: SealArguments) -> PyResult<Bound<'_, PyAny>> {
    let cancel = Cancel::default();
    let mut options = arguments.options()?;
    options.verify.cancel = Some(cancel.clone());
    let sealed = interruptible(py, move || core::seal(&path, &options)).inspect_err(|_| cancel.cancel())?;
    records::dict(py, &sealed.map_err(|error| errors::raise(py, &error))?)
}

/// Holds every sealed file of a directory against its seal. Returns the report as a dict.
#[pyfunction]
#[pyo3(signature = (path, level=None, threads=None))]
pub(crate) fn verify_sealed(
    py: Python<'_>,
    path: PathBuf,
    level: Option<String>,
    threads: Option<usize>,
) -> PyResult<Bound<'_, PyAny>> {
    let cancel = Cancel::default();
    let options = checks(level.as_deref(), threads)?.with_cancel(cancel.clone());
    let report = interruptible(py, move || core_verify_sealed(&path, &options));
    let report = report.inspect_err(|_| cancel.cancel())?;
    records::dict(py, &report)
}

fn checks(word: Option<&str>, threads: Option<usize>) -> PyResult<VerifyOptions> {
    let mut options = VerifyOptions::default();
    options.level = word.map(level).transpose()?.unwrap_or(options.level);
    options.threads = threads.unwrap_or(options.threads);
    Ok(options)
}
