//! Keyword arguments of Python as a pipeline's options.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ckpt::pipeline::{OnStale, PipelineOptions, Stage};
use pyo3::prelude::*;

use crate::errors;
use crate::options::{level, wrong};

/// What a pipeline is opened with, as `ckpt/pipeline/_pipeline.py` passes it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct PipelineArguments<'py> {
    stages: Vec<Described>,
    name: Option<String>,
    source: Option<PathBuf>,
    config: Option<Bound<'py, PyAny>>,
    level: String,
    on_stale: String,
    force_restart: bool,
    holder: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// A stage: its name, whether it asks for a review, what it reads and what it leaves.
type Described = (String, bool, Vec<PathBuf>, Vec<PathBuf>);

impl PipelineArguments<'_> {
    /// Returns the stages, and the options.
    pub(super) fn options(self, py: Python<'_>) -> PyResult<(Vec<Stage>, PipelineOptions)> {
        let mut options =
            PipelineOptions::default().with_level(level(&self.level)?).on_stale(on_stale(&self.on_stale)?);
        if let Some(config) = self.config {
            let config: serde_json::Value = pythonize::depythonize(&config)?;
            options = options.with_config(&config).map_err(|error| errors::raise(py, &error))?;
        }
        options.name = self.name;
        options.source = self.source;
        options.force_restart = self.force_restart;
        options.holder = self.holder;
        options.metadata = self.metadata;
        Ok((self.stages.into_iter().map(stage).collect(), options))
    }
}

fn stage((name, review, inputs, outputs): Described) -> Stage {
    let mut stage = Stage::new(name);
    stage.review = review;
    stage.inputs = inputs;
    stage.outputs = outputs;
    stage
}

fn on_stale(word: &str) -> PyResult<OnStale> {
    match word {
        "refuse" => Ok(OnStale::Refuse),
        "restart" => Ok(OnStale::Restart),
        "resume" => Ok(OnStale::Resume),
        _ => Err(wrong("on_stale", word, &["refuse", "restart", "resume"])),
    }
}
