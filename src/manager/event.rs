use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Committed;
use crate::Error;
use crate::record::CheckpointId;

/// Something that happened to a save, in the background or not.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A checkpoint is durable.
    Saved(&'e Committed),
    /// Saving failed, and is tried again after a while.
    Retrying {
        /// The checkpoint.
        id: CheckpointId,
        /// Why it failed.
        error: &'e Error,
        /// How often it has failed.
        attempt: u32,
        /// How long is waited.
        after: Duration,
    },
    /// Saving failed for good: there is no such checkpoint.
    Failed {
        /// The checkpoint.
        id: CheckpointId,
        /// Why it failed.
        error: &'e Error,
    },
    /// A save was left out, because another was in flight.
    Skipped {
        /// The step of the save that was left out.
        step: u64,
    },
    /// A save that was still queued gave way to a newer one.
    Replaced {
        /// The step of the save that gave way.
        step: u64,
    },
    /// Old checkpoints were removed, or should have been.
    Pruned {
        /// What was removed.
        removed: &'e [CheckpointId],
        /// What could not be removed.
        error: Option<&'e Error>,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Saved(saved) => write!(f, "{} saved: {} bytes", saved.id, saved.state.bytes),
            Self::Retrying { id, error, attempt, after } => {
                write!(f, "{id}: attempt {attempt} failed, next in {after:?}: {error}")
            }
            Self::Failed { id, error } => write!(f, "{id} isn't saved: {error}"),
            Self::Skipped { step } => write!(f, "step {step} isn't saved: another save was in flight"),
            Self::Replaced { step } => write!(f, "step {step} isn't saved: a newer save took its place"),
            Self::Pruned { removed, error: None } => write!(f, "{} old checkpoints removed", removed.len()),
            Self::Pruned { removed, error: Some(error) } => {
                write!(f, "{} old checkpoints removed, then: {error}", removed.len())
            }
        }
    }
}

/// Who hears of events, on any thread.
pub type Reporter = Arc<dyn Fn(&Event<'_>) + Send + Sync>;
