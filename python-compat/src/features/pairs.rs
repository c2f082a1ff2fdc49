//! Merging feature files by their ids.

use std::path::PathBuf;
use std::sync::Arc;

use ckpt::Error;
use ckpt::features::merge::{self as core, MergeOptions, Pair, Unmatched};
use ckpt::io::Cancel;
use ckpt::record::Merged;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors;
use crate::interrupt::interruptible;
use crate::options::{format, hearer, level};
use crate::records;

/// What a merge can be asked for, as `ckpt/features/_merge.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of its own")]
pub(crate) struct MergeArguments {
    refuse_unmatched: bool,
    ids_key: Vec<String>,
    data_key: Vec<String>,
    value_key: Vec<String>,
    format: Option<String>,
    done_marker: bool,
    jobs: Option<usize>,
    validate: bool,
    level: String,
    redo: bool,
    progress: Option<Py<PyAny>>,
}

impl MergeArguments {
    fn options(self) -> PyResult<MergeOptions> {
        let mut options = MergeOptions::default().with_verify(level(&self.level)?);
        options = self.ids_key.into_iter().fold(options, MergeOptions::with_ids_key);
        options = self.data_key.into_iter().fold(options, MergeOptions::with_data_key);
        options = self.value_key.into_iter().fold(options, MergeOptions::with_value_key);
        if self.refuse_unmatched {
            options = options.with_unmatched(Unmatched::Refuse);
        }
        options.format = self.format.as_deref().map(format).transpose()?;
        options.marker = self.done_marker;
        options.threads = self.jobs.unwrap_or(options.threads);
        options.validate = self.validate;
        options.redo = self.redo;
        if let Some(progress) = self.progress {
            options = options.with_progress(Arc::new(hearer(progress)));
        }
        Ok(options)
    }
}

/// Merges two feature files. Returns what became of them, as a dict.
#[pyfunction]
pub(crate) fn merge(
    py: Python<'_>,
    a: PathBuf,
    b: PathBuf,
    out: PathBuf,
    arguments: MergeArguments,
) -> PyResult<Bound<'_, PyAny>> {
    let cancel = Cancel::default();
    let options = arguments.options()?.with_cancel(cancel.clone());
    let merged = interruptible(py, move || core::merge(&a, &b, &out, &options));
    described(py, merged.inspect_err(|_| cancel.cancel())?)
}

/// Merges pairs of feature files, several at once. Returns of each, in order, what became of it: a dict, or the exception.
#[pyfunction]
pub(crate) fn merge_all(
    py: Python<'_>,
    pairs: Vec<(PathBuf, PathBuf, PathBuf)>,
    arguments: MergeArguments,
) -> PyResult<Bound<'_, PyList>> {
    let cancel = Cancel::default();
    let options = arguments.options()?.with_cancel(cancel.clone());
    let pairs: Vec<Pair> = pairs.into_iter().map(|(a, b, out)| Pair::new(a, b, out)).collect();
    let all = interruptible(py, move || core::merge_all(&pairs, &options, &|_, _| ()));
    let all = all.inspect_err(|_| cancel.cancel())?;
    let list = PyList::empty(py);
    for merged in all {
        match described(py, merged) {
            Ok(record) => list.append(record)?,
            Err(error) => list.append(error.into_value(py))?,
        }
    }
    Ok(list)
}

/// Finds the pairs of two directories. Returns them, and the files that have no partner.
#[pyfunction]
#[pyo3(signature = (a, b, out, format_word))]
pub(crate) fn pairs_in(
    py: Python<'_>,
    a: PathBuf,
    b: PathBuf,
    out: PathBuf,
    format_word: Option<String>,
) -> PyResult<Found> {
    let mut options = MergeOptions::default();
    options.format = format_word.as_deref().map(format).transpose()?;
    let found = py.detach(|| core::pairs_in(&a, &b, &out, &options));
    let found = found.map_err(|error| errors::raise(py, &error))?;
    Ok((found.pairs.into_iter().map(|pair| (pair.a, pair.b, pair.out)).collect(), found.unpaired))
}

type Found = (Vec<(PathBuf, PathBuf, PathBuf)>, Vec<PathBuf>);

fn described(py: Python<'_>, merged: Result<Merged, Error>) -> PyResult<Bound<'_, PyAny>> {
    records::dict(py, &merged.map_err(|error| errors::raise(py, &error))?)
}
