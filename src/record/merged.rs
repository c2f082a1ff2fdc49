use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Dtype;

/// The name and version of the document that says what was merged.
pub const MERGE_SCHEMA: &str = "ckpt.merge/1";

/// What became of a pair of feature files that was to be merged.
///
/// Of a pair that was skipped it says what it said when the output was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Merged {
    /// The first input, whose order the output has. In JSON, bytes of a path that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub a: PathBuf,
    /// The second input.
    #[serde(with = "super::report::lossy_path")]
    pub b: PathBuf,
    /// The output.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// Whether the output was made, or was there already.
    pub outcome: MergeOutcome,
    /// How many ids the output has, each with a row.
    pub rows: u64,
    /// How many elements a row of the output has: those of both inputs.
    pub width: u64,
    /// How many of them come from `a`; they are the first ones.
    pub width_a: u64,
    /// How many of them come from `b`.
    pub width_b: u64,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The ids that only `a` has, in its order. The output hasn't them.
    pub only_in_a: Vec<String>,
    /// The ids that only `b` has, in its order.
    pub only_in_b: Vec<String>,
    /// The ids that `a` has more than once; the last row of each counts, at the place of the first.
    pub duplicates_in_a: Vec<String>,
    /// The ids that `b` has more than once; the last row of each counts.
    pub duplicates_in_b: Vec<String>,
    /// The size of the output in bytes.
    pub bytes: u64,
    /// The id of the output's proof: the digest of the file.
    pub proof: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl Merged {
    /// Returns how many ids are in only one of the inputs.
    pub fn unmatched(&self) -> u64 {
        (self.only_in_a.len() as u64).saturating_add(self.only_in_b.len() as u64)
    }

    /// Returns how many ids one of the inputs has more than once.
    pub fn duplicates(&self) -> u64 {
        (self.duplicates_in_a.len() as u64).saturating_add(self.duplicates_in_b.len() as u64)
    }
}

/// Whether the output of a merge was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MergeOutcome {
    /// It was made, or made anew.
    Merged,
    /// It was there, finished and verified, and made from these inputs as they are now.
    Skipped,
}

impl MergeOutcome {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Merged, Self::Skipped];

    /// Returns the word used in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for MergeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
