//! Extractions, and what is made of their shards.

use std::path::PathBuf;

use ckpt::Error;
use ckpt::features::extraction::{
    self as core, AggregateOptions, Extraction as Core, ExtractionOptions, Todo, Worker, input_of_file,
};
use ckpt::io::Cancel;
use ckpt::record::{ExtractionManifest, InputFingerprint, ModelConfig};
use jiff::Timestamp;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::writer::ShardWriter;
use crate::errors;
use crate::interrupt::interruptible;
use crate::options::{SaveArguments, duration, format};
use crate::records;

/// What an extraction is opened with, as `ckpt/features/_extraction.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct ExtractionArguments<'py> {
    ids: Option<Vec<String>>,
    input_file: Option<PathBuf>,
    model: Bound<'py, PyAny>,
    rank: u32,
    world_size: u32,
    rows: u64,
    seconds: f64,
    emergency_seconds: Option<f64>,
    format: String,
    queue: usize,
    save: SaveArguments,
}

impl ExtractionArguments<'_> {
    fn options(&self) -> PyResult<ExtractionOptions> {
        let mut options = ExtractionOptions::default()
            .with_rows(self.rows)
            .with_time(duration("seconds", self.seconds)?)
            .with_format(format(&self.format)?)
            .with_queue(self.queue);
        if let Some(emergency) = self.emergency_seconds {
            options = options.with_emergency(duration("emergency_seconds", emergency)?);
        }
        Ok(options)
    }
}

/// An extraction, as one of its workers has it open. Its Python face is `ckpt.features.Extraction`.
#[pyclass(frozen, module = "ckpt._native")]
#[derive(Debug)]
pub(crate) struct Extraction(Core);

#[pymethods]
impl Extraction {
    #[new]
    fn new(py: Python<'_>, directory: PathBuf, arguments: ExtractionArguments<'_>) -> PyResult<Self> {
        let raise = |error: Error| errors::raise(py, &error);
        let worker = Worker::new(arguments.rank, arguments.world_size).map_err(raise)?;
        let model: serde_json::Value = pythonize::depythonize(&arguments.model)?;
        let model = ModelConfig::of(&model).map_err(|error| raise(error.into()))?;
        let mut options = arguments.options()?;
        options.save = arguments.save.options()?;
        let (ids, input_file) = (arguments.ids, arguments.input_file);
        let opened = interruptible(py, move || {
            let input = match (ids, input_file) {
                (Some(ids), _) => InputFingerprint::of_ids(ids),
                (None, Some(path)) => input_of_file(&path)?,
                (None, None) => {
                    return Err(Error::usage("say what the features are made of: ids, or input_file"));
                }
            };
            Core::open(&directory, worker, input, &model, options)
        })?;
        opened.map(Self).map_err(raise)
    }

    /// Returns the name of the extraction.
    fn id(&self) -> &str {
        self.0.id()
    }

    /// Returns the directory, without symbolic links.
    fn directory(&self) -> PathBuf {
        self.0.directory().to_owned()
    }

    /// Returns what is still to do, and sets damaged shards aside.
    fn todo<'py>(&self, py: Python<'py>, ids: Vec<String>) -> PyResult<Bound<'py, PyDict>> {
        let core = self.0.clone();
        let todo = interruptible(py, move || core.todo(&ids))?;
        described(py, todo.map_err(|error| errors::raise(py, &error))?)
    }

    /// Returns what all ranks have saved.
    fn manifest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let manifest = py.detach(|| self.0.manifest()).map_err(|error| errors::raise(py, &error))?;
        records::dict(py, &manifest)
    }

    /// Begins to write as this worker's rank.
    fn writer(&self, py: Python<'_>) -> PyResult<ShardWriter> {
        let writer = py.detach(|| self.0.writer()).map_err(|error| errors::raise(py, &error))?;
        Ok(ShardWriter::new(writer))
    }
}

/// Returns what is still to do of the extraction in a directory, and changes nothing.
#[pyfunction]
pub(crate) fn extraction_todo(
    py: Python<'_>,
    directory: PathBuf,
    ids: Vec<String>,
) -> PyResult<Bound<'_, PyDict>> {
    let todo = interruptible(py, move || core::todo(&directory, &ids))?;
    described(py, todo.map_err(|error| errors::raise(py, &error))?)
}

/// Returns what all ranks of the extraction in a directory have saved.
#[pyfunction]
pub(crate) fn extraction_manifest(py: Python<'_>, directory: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let manifest = py.detach(|| core::manifest(&directory)).map_err(|error| errors::raise(py, &error))?;
    records::dict(py, &manifest)
}

/// Returns the ranks that haven't finished, and have written nothing for longer than so many seconds.
#[pyfunction]
pub(crate) fn stalled_ranks<'py>(
    py: Python<'py>,
    manifest: &Bound<'py, PyAny>,
    age_seconds: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let manifest: ExtractionManifest = pythonize::depythonize(manifest)?;
    let age = duration("age", age_seconds)?;
    records::dict(py, &manifest.stalled(Timestamp::now(), age))
}

/// What an aggregation can be asked for, as `ckpt/features/_extraction.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct AggregateArguments {
    allow_missing: bool,
    save: SaveArguments,
}

/// Makes one file of all shards of the extraction in a directory. Returns what it has, as a dict.
#[pyfunction]
#[pyo3(signature = (directory, ids, out, arguments))]
pub(crate) fn aggregate(
    py: Python<'_>,
    directory: PathBuf,
    ids: Option<Vec<String>>,
    out: PathBuf,
    arguments: AggregateArguments,
) -> PyResult<Bound<'_, PyAny>> {
    let cancel = Cancel::default();
    let save = arguments.save.options()?.with_cancel(cancel.clone());
    let mut options = AggregateOptions::default().with_save(save);
    options.allow_missing = arguments.allow_missing;
    let aggregated = interruptible(py, move || core::aggregate(&directory, ids.as_deref(), &out, &options));
    let aggregated = aggregated.inspect_err(|_| cancel.cancel())?;
    records::dict(py, &aggregated.map_err(|error| errors::raise(py, &error))?)
}

fn described(py: Python<'_>, todo: Todo) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("ids", todo.ids)?;
    dict.set_item("places", todo.places)?;
    dict.set_item("done", todo.done)?;
    dict.set_item("shards", todo.shards)?;
    dict.set_item("rows", todo.rows)?;
    dict.set_item("set_aside", records::dict(py, &todo.set_aside)?)?;
    Ok(dict)
}
