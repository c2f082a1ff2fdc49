use std::path::PathBuf;

use crate::record::{CheckpointId, Manifest, Skipped};
use crate::tensor::State;

/// A checkpoint that the work goes on from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resumed {
    /// Its name.
    pub id: CheckpointId,
    /// Its directory.
    pub path: PathBuf,
    /// What is known of it: metrics, metadata, further artifacts.
    pub manifest: Manifest,
    /// The state, loaded.
    pub state: State<'static>,
    /// The newer checkpoints that could not be used, newest first, and why.
    pub skipped: Vec<Skipped>,
}

impl Resumed {
    /// Returns the number of training steps that were taken.
    pub fn step(&self) -> u64 {
        self.id.step
    }
}

/// The newest checkpoint that passes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Latest {
    /// Its name.
    pub id: CheckpointId,
    /// Its directory.
    pub path: PathBuf,
    /// What is known of it.
    pub manifest: Manifest,
    /// The newer checkpoints that don't pass, newest first, and why.
    pub skipped: Vec<Skipped>,
}
