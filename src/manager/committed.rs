use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::record::CheckpointId;
use crate::save::Saved;

/// A checkpoint that was saved: it is durable, and has its name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Committed {
    /// Its name.
    pub id: CheckpointId,
    /// Its directory.
    pub path: PathBuf,
    /// What was saved as its state.
    pub state: Saved,
    /// What is odd about it, and worth a look.
    pub notices: Vec<Notice>,
    /// How often saving it had failed before.
    pub retries: u32,
    /// How long it took from the call until it was durable.
    pub elapsed: Duration,
}

impl Committed {
    /// Says that a checkpoint was saved there, at the first attempt and with nothing odd about it.
    pub fn new(id: CheckpointId, path: impl Into<PathBuf>, state: Saved) -> Self {
        let elapsed = state.elapsed;
        Self { id, path: path.into(), state, notices: Vec::new(), retries: 0, elapsed }
    }
}

/// Something odd about a checkpoint that is otherwise fine: the sign of a mistake in the training loop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The step advanced, and no tensor changed since the checkpoint of this name.
    NothingChanged(CheckpointId),
    /// The optimizer counts another number of steps than the checkpoint's.
    OptimizerStep {
        /// Where the optimizer's count is in the state.
        path: String,
        /// What it says.
        steps: u64,
    },
    /// The checkpoint isn't after the newest one: it begins a new generation.
    NewGeneration(CheckpointId),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingChanged(since) => {
                write!(f, "no tensor changed since {since}, although the step did")
            }
            Self::OptimizerStep { path, steps } => {
                write!(f, "'{path}' counts {steps} steps, the checkpoint doesn't")
            }
            Self::NewGeneration(newest) => write!(f, "it isn't after {newest}: a new generation begins"),
        }
    }
}
