use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{CheckpointId, Finding, Manifest};

/// One checkpoint in the list of a run: what its manifest says, or why it can't be known.
///
/// The list is made at the level `size`: the manifest was read, and its artifacts are there with their sizes. No
/// byte of them was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub id: CheckpointId,
    /// Its directory. In JSON, bytes that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// The size of its artifacts in bytes, as the manifest says; 0 where there is none.
    pub bytes: u64,
    /// Its manifest, where it has one that can be read.
    #[serde(default)]
    pub manifest: Option<Manifest>,
    /// Why it is no whole checkpoint: unfinished, or damaged at the first look; or why that can't be told.
    #[serde(default)]
    pub finding: Option<Finding>,
    /// Why it is to be kept whatever happens, where it was pinned.
    #[serde(default)]
    pub pinned: Option<String>,
}

impl Listed {
    /// Makes the line of a checkpoint that nothing is known of yet.
    pub fn new(id: CheckpointId, path: impl Into<PathBuf>) -> Self {
        Self { id, path: path.into(), bytes: 0, manifest: None, finding: None, pinned: None }
    }

    /// Returns whether it is whole, as far as the list looks.
    pub fn is_whole(&self) -> bool {
        self.manifest.is_some() && self.finding.is_none()
    }
}
