use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::record::{CheckpointId, StageStatus};

/// What was found when a pipeline was opened, and is worth a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The state file couldn't be used. It was kept under another name, and the pipeline begins anew.
    SetAside {
        /// Where it is now.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The state is one without a version, as existing Python pipelines keep it. It is written in the new form after the
    /// next stage; what the finished stages have left isn't known.
    Migrated {
        /// The stages that it says are finished.
        stages: Vec<String>,
    },
    /// The source or the configuration is another one than the state was made with.
    Stale {
        /// What differs.
        what: Vec<String>,
        /// Whether all stages are done anew for it. Otherwise the pipeline goes on.
        restarted: bool,
    },
    /// All stages are done anew, because that was asked for.
    Restarted,
    /// A stage was done, and its checkpoint committed, when the process before this one ended: it counts as done.
    Adopted {
        /// The stage.
        stage: String,
        /// Its checkpoint.
        checkpoint: CheckpointId,
    },
    /// A stage that was done is to be done anew, with all later ones.
    Redo {
        /// The stage.
        stage: String,
        /// Why.
        why: Why,
    },
    /// The state knows a stage that the pipeline doesn't have any more: it is forgotten after the next stage.
    Dropped {
        /// The stage.
        stage: String,
    },
    /// The file system has no locks, or those of one machine alone: nothing keeps a second process from this pipeline.
    UnsureLease,
}

impl Notice {
    /// Returns the word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SetAside { .. } => "set_aside",
            Self::Migrated { .. } => "migrated",
            Self::Stale { .. } => "stale",
            Self::Restarted => "restarted",
            Self::Adopted { .. } => "adopted",
            Self::Redo { .. } => "redo",
            Self::Dropped { .. } => "dropped",
            Self::UnsureLease => "unsure_lease",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAside { path, why } => {
                write!(f, "{why}; it is kept as {}, and the pipeline begins anew", path.display())
            }
            Self::Migrated { stages } => write!(
                f,
                "the state is an older one, without a version: {} count as done ({}), and what they left isn't known",
                stages.len(),
                stages.join(", ")
            ),
            Self::Stale { what, restarted: true } => {
                write!(f, "{}: all stages are done anew", what.join("; "))
            }
            Self::Stale { what, .. } => write!(f, "{}: the pipeline goes on even so", what.join("; ")),
            Self::Restarted => f.write_str("all stages are done anew"),
            Self::Adopted { stage, checkpoint } => {
                write!(f, "'{stage}' was finished as {checkpoint} when its process ended: it counts as done")
            }
            Self::Redo { stage, why } => write!(f, "'{stage}' is to be done anew: {why}"),
            Self::Dropped { stage } => {
                write!(f, "the state knows a stage '{stage}', which the pipeline doesn't have any more")
            }
            Self::UnsureLease => f.write_str(
                "the file system has no sure locks: nothing keeps a second process from this pipeline",
            ),
        }
    }
}

/// Why a stage is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// It isn't complete.
    NotComplete {
        /// How far it is.
        status: StageStatus,
    },
    /// An output isn't there any more.
    OutputGone {
        /// The output.
        path: String,
    },
    /// An output isn't what the stage left.
    OutputChanged {
        /// The output.
        path: String,
        /// What differs.
        how: String,
    },
    /// An output can't be looked at.
    OutputUnreadable {
        /// The output.
        path: String,
        /// Why not.
        error: String,
    },
    /// An output is asked for that the stage didn't leave when it was done.
    OutputNew {
        /// The output.
        path: String,
    },
    /// An input has changed since the stage was done.
    InputChanged {
        /// The input.
        path: String,
    },
    /// An input is named that the stage didn't read when it was done.
    InputNew {
        /// The input.
        path: String,
    },
    /// Another command does it now.
    CommandChanged,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotComplete { status: StageStatus::InProgress } => {
                f.write_str("the process that was at it before came to no end")
            }
            Self::NotComplete { status: StageStatus::Failed } => f.write_str("it has failed before"),
            Self::NotComplete { .. } => f.write_str("it isn't done yet"),
            Self::OutputGone { path } => write!(f, "its output {path} isn't there any more"),
            Self::OutputChanged { path, how } => write!(f, "its output {path} isn't what it left: {how}"),
            Self::OutputUnreadable { path, error } => write!(f, "its output {path} can't be read: {error}"),
            Self::OutputNew { path } => write!(f, "it left no output {path} when it was done"),
            Self::InputChanged { path } => write!(f, "its input {path} has changed since"),
            Self::InputNew { path } => write!(f, "it read no input {path} when it was done"),
            Self::CommandChanged => f.write_str("its command is another one"),
        }
    }
}
