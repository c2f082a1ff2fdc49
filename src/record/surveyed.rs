use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CheckpointId, CheckpointStanding, Finding};

/// The name and version of the document that a run's checkpoints are printed in.
pub const LIST_SCHEMA: &str = "ckpt.list/1";

/// A checkpoint of a run, what its manifest says of it, and what a check made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Surveyed {
    /// Its name.
    pub id: CheckpointId,
    /// Its directory. In JSON, bytes that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// What is known of it.
    pub standing: CheckpointStanding,
    /// Its size in bytes, as its manifest says; 0 where there is none.
    pub bytes: u64,
    /// When it was committed.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// The checkpoint that the work went on from.
    #[serde(default)]
    pub parent: Option<CheckpointId>,
    /// What was measured at it.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Why it is kept whatever happens, where it is pinned.
    #[serde(default)]
    pub pinned: Option<String>,
    /// Why it isn't good, where something was found.
    #[serde(default)]
    pub finding: Option<Finding>,
}
