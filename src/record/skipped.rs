use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{CheckpointId, Finding};

/// A checkpoint that was passed over on the way back to a good one, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Skipped {
    /// Its name.
    pub id: CheckpointId,
    /// Its directory. In JSON, bytes that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// What was found first.
    pub finding: Finding,
}

impl Skipped {
    /// Makes an entry.
    pub fn new(id: CheckpointId, path: impl Into<PathBuf>, finding: Finding) -> Self {
        Self { id, path: path.into(), finding }
    }
}
