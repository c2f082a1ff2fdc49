use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Verdict;

/// The name and version of the document that a scrub's reports and its [`ScrubSummary`] are printed in.
pub const SCRUB_SCHEMA: &str = "ckpt.scrub/1";

/// What one run of a scrub came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScrubSummary {
    /// The number of checkpoints that were found.
    pub checkpoints: u64,
    /// How many of them were checked in this run.
    pub checked: u64,
    /// How many of those are valid.
    pub valid: u64,
    /// How many are incompatible.
    pub incompatible: u64,
    /// How many are corrupted.
    pub corrupted: u64,
    /// How many could not be read.
    pub unreadable: u64,
    /// The size of those that were checked, in bytes.
    pub bytes: u64,
    /// How many were passed over: they were verified recently enough.
    pub recent: u64,
    /// How many were due and not begun, because the run's time or bytes were used up.
    pub left: u64,
    /// The size of those, in bytes.
    pub left_bytes: u64,
    /// How many are gone, and were forgotten.
    pub forgotten: u64,
    /// Those that weren't checked in this run, and weren't valid when they last were.
    pub standing: Vec<Standing>,
    /// Why the run ended.
    pub ended: ScrubEnd,
    /// Where a memory that couldn't be read was put, so that another could be begun.
    #[serde(default, with = "super::report::lossy_path_option")]
    pub set_aside: Option<PathBuf>,
    /// How long the run took, in milliseconds.
    pub elapsed_ms: u64,
}

/// A checkpoint that wasn't valid when it was last verified, and hasn't changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The checkpoint. In JSON, bytes that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// What it was found to be.
    pub verdict: Verdict,
    /// When.
    pub verified: Timestamp,
}

/// Why a scrub ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScrubEnd {
    /// All that was due is done.
    #[default]
    Done,
    /// The next checkpoint would have taken longer than the run may.
    Time,
    /// The next checkpoint would have been more bytes than the run may read.
    Bytes,
    /// The caller stopped it, or the memory couldn't be written.
    Stopped,
}

impl ScrubEnd {
    /// Returns the word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Stopped => "stopped",
        }
    }
}
