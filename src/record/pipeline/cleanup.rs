use std::fmt;

use serde::{Deserialize, Serialize};

/// The name and version of the document that a plan of removals is printed in.
pub const CLEANUP_SCHEMA: &str = "ckpt.cleanup/1";

/// What becomes of one output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CleanupEntry {
    /// The stage that left it.
    pub stage: String,
    /// The output, as its record names it.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it goes.
    pub remove: bool,
    /// Why it goes, or stays.
    pub reason: CleanupReason,
}

/// Why an output goes, or stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CleanupReason {
    /// It stays: its lifetime is [`Lifetime::Keep`](super::Lifetime::Keep).
    Kept,
    /// It stays: another stage left it as well, or reads it, or the pipeline is made from it, and that isn't over.
    Needed {
        /// Who needs it.
        by: String,
    },
    /// It stays: not all stages are done.
    NotCompleted,
    /// It stays: no stage has read it.
    NotRead,
    /// It stays: it isn't what the stage left, so that nobody knows what it is.
    Changed {
        /// What differs.
        how: String,
    },
    /// It goes: all stages are done.
    Completed,
    /// It goes: every stage that reads it is done.
    Consumed,
}

impl fmt::Display for CleanupReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("an output that is kept"),
            Self::Needed { by } => write!(f, "needed by {by}"),
            Self::NotCompleted => f.write_str("not all stages are done"),
            Self::NotRead => f.write_str("no stage has read it"),
            Self::Changed { how } => write!(f, "not what the stage left: {how}"),
            Self::Completed => f.write_str("all stages are done"),
            Self::Consumed => f.write_str("every stage that reads it is done"),
        }
    }
}

impl CleanupEntry {
    /// Says of an output what becomes of it: it goes if the reason is one to go.
    pub fn new(stage: impl Into<String>, path: impl Into<String>, bytes: u64, reason: CleanupReason) -> Self {
        let remove = matches!(reason, CleanupReason::Completed | CleanupReason::Consumed);
        Self { stage: stage.into(), path: path.into(), bytes, remove, reason }
    }
}
