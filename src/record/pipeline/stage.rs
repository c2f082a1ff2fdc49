use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FileRecord, StageStatus};
use crate::record::CheckpointId;

/// What is known of one stage of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageRecord {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub status: StageStatus,
    /// When the last attempt was begun.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// When that ended, well or not.
    #[serde(default)]
    pub finished: Option<Timestamp>,
    /// How long it took, in seconds.
    #[serde(default)]
    pub seconds: f64,
    /// How often it was begun.
    #[serde(default)]
    pub attempts: u32,
    /// What it read.
    #[serde(default)]
    pub inputs: Vec<FileRecord>,
    /// What it left.
    #[serde(default)]
    pub outputs: Vec<FileRecord>,
    /// What it came to beside files, by name.
    #[serde(default)]
    pub values: Map<String, Value>,
    /// Why the last attempt failed.
    #[serde(default)]
    pub error: Option<String>,
    /// What it cost, by what is counted: hours of a GPU, money.
    #[serde(default)]
    pub cost: BTreeMap<String, f64>,
    /// The digest of the configuration that it was done with, as [`PipelineState::config`](super::PipelineState::config).
    #[serde(default)]
    pub config: Option<String>,
    /// The command that did it, word by word.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// What became of its review, where it asks for one.
    #[serde(default)]
    pub review: Option<Review>,
    /// The checkpoint that it became, in the directory beside the state file.
    #[serde(default)]
    pub checkpoint: Option<CheckpointId>,
}

impl StageRecord {
    /// Makes the record of a stage that wasn't begun.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Returns whether it is done.
    pub fn is_complete(&self) -> bool {
        self.status == StageStatus::Completed
    }
}

/// The review of a finished stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Review {
    /// Since when it is waited for.
    pub requested: Timestamp,
    /// When the stage was approved.
    #[serde(default)]
    pub approved: Option<Timestamp>,
    /// Who approved it.
    #[serde(default)]
    pub by: Option<String>,
    /// What they said about it.
    #[serde(default)]
    pub note: Option<String>,
    /// The outputs that were changed between the stage's end and its approval.
    #[serde(default)]
    pub edits: Vec<Edit>,
}

impl Review {
    /// Makes a review that is waited for.
    pub fn new(requested: Timestamp) -> Self {
        Self { requested, approved: None, by: None, note: None, edits: Vec::new() }
    }
}

/// An output that was changed by hand before its stage was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Edit {
    /// The output, as its record names it.
    pub path: String,
    /// The digest that it had when the stage was done.
    pub before: String,
    /// The digest that it had when it was approved, and is to have from then on.
    pub after: String,
}

impl Edit {
    /// Makes an edit.
    pub fn new(path: impl Into<String>, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self { path: path.into(), before: before.into(), after: after.into() }
    }
}
