//! Keyword arguments of Python as options of the crate.

use std::collections::BTreeMap;
use std::time::Duration;

use ckpt::digest::Algorithm;
use ckpt::io::commit::Durability;
use ckpt::record::{Level, Position};
use ckpt::save::Format;
use ckpt::validate::{ProgressSink, Requirement};
use ckpt::{Error, LoadOptions, SaveOptions, VerifyOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

/// What `save` can be asked for, as `ckpt/_save.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of its own")]
pub(crate) struct SaveArguments {
    format: Option<String>,
    validate: bool,
    level: String,
    durable: bool,
    done_marker: bool,
    overwrite: bool,
    replace_link: bool,
    algorithm: String,
    position: Option<String>,
    metadata: BTreeMap<String, String>,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
}

impl SaveArguments {
    pub(crate) fn options(self) -> PyResult<SaveOptions> {
        let mut options = SaveOptions::default().with_level(level(&self.level)?);
        options.format = self.format.as_deref().map(format).transpose()?;
        options.validate = self.validate;
        options.durability = if self.durable { Durability::Full } else { Durability::None };
        options.marker = self.done_marker;
        options.overwrite = self.overwrite;
        options.replace_link = self.replace_link;
        options.algorithm = algorithm(&self.algorithm)?;
        options.position = self.position.as_deref().map(position).transpose()?;
        options.metadata = self.metadata;
        options.threads = self.threads.unwrap_or(options.threads);
        if let Some(progress) = self.progress {
            options = options.with_progress(hearer(progress));
        }
        Ok(options)
    }
}

/// What `load` can be asked for, as `ckpt/_load.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct LoadArguments {
    tensors: Vec<String>,
    required_keys: Vec<String>,
    verify: bool,
    allowed_globals: Vec<String>,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
}

impl LoadArguments {
    pub(crate) fn options(self, py: Python<'_>) -> PyResult<LoadOptions> {
        let mut options = LoadOptions::default().with_verify(self.verify);
        options.tensors = requirements(py, &self.tensors)?;
        options.require = requirements(py, &self.required_keys)?;
        options.allowed_globals = self.allowed_globals;
        options.threads = self.threads.unwrap_or(options.threads);
        options.progress = self.progress.map(|progress| ProgressSink::new(hearer(progress)));
        Ok(options)
    }
}

/// What `verify` can be asked for, as `ckpt/_verify.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of its own")]
pub(crate) struct VerifyArguments {
    level: Option<String>,
    required_keys: Vec<String>,
    skip_contents: bool,
    require_done_marker: bool,
    allowed_globals: Vec<String>,
    compat: bool,
    fresh: bool,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
}

impl VerifyArguments {
    pub(crate) fn options(self, py: Python<'_>) -> PyResult<VerifyOptions> {
        let mut options = VerifyOptions::default();
        options.requirements = requirements(py, &self.required_keys)?;
        if !options.requirements.is_empty() {
            options.level = Level::Keys;
        }
        if let Some(word) = &self.level {
            options.level = level(word)?;
        }
        options.skip_contents = self.skip_contents;
        options.require_marker = self.require_done_marker;
        options.allowed_globals = self.allowed_globals;
        options.compat = self.compat;
        options.fresh = self.fresh;
        options.threads = self.threads.unwrap_or(options.threads);
        options.progress = self.progress.map(|progress| ProgressSink::new(hearer(progress)));
        Ok(options)
    }
}

/// Makes a Python callable hear of bytes. What it raises is shown as Python shows what nobody can catch.
pub(crate) fn hearer(callable: Py<PyAny>) -> impl Fn(u64) + Send + Sync + 'static {
    move |bytes| {
        Python::attach(|py| {
            if let Err(error) = callable.call1(py, (bytes,)) {
                error.write_unraisable(py, Some(callable.bind(py)));
            }
        });
    }
}

pub(crate) fn requirements(py: Python<'_>, texts: &[String]) -> PyResult<Vec<Requirement>> {
    let parse = |text: &String| text.parse().map_err(|error: Error| errors::raise(py, &error));
    texts.iter().map(parse).collect()
}

pub(crate) fn level(word: &str) -> PyResult<Level> {
    word.parse().map_err(|_| wrong("level", word, &["size", "container", "load", "keys"]))
}

pub(crate) fn format(word: &str) -> PyResult<Format> {
    let known = Format::ALL.into_iter().find(|format| format.as_str() == word);
    known.ok_or_else(|| wrong("format", word, &Format::ALL.map(Format::as_str)))
}

pub(crate) fn algorithm(word: &str) -> PyResult<Algorithm> {
    Algorithm::from_name(word).ok_or_else(|| wrong("algorithm", word, &["crc64-nvme", "blake3"]))
}

pub(crate) fn position(text: &str) -> PyResult<Position> {
    text.parse().map_err(|_| wrong("position", text, &["step:1200", "stage:merge"]))
}

/// Returns a duration of so many seconds.
pub(crate) fn duration(what: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("{what} can't be {seconds} seconds: {error}")))
}

pub(crate) fn wrong(what: &str, given: &str, known: &[&str]) -> PyErr {
    PyValueError::new_err(format!("'{given}' is no {what}: {}", known.join(", ")))
}
