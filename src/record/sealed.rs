use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Report;

/// The name and version of the document that says what was sealed.
pub const SEAL_SCHEMA: &str = "ckpt.seal/1";

/// What became of one file that was to be sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sealed {
    /// The file. In JSON, bytes of a path that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// What became of it.
    pub outcome: SealOutcome,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// What the seal stands for: the algorithm, a colon, and the digest of the digests of blocks; none where
    /// there is no seal that holds.
    pub digest: Option<String>,
    /// Why it wasn't sealed, in words.
    pub reason: Option<String>,
    /// What the check of the file found; none where there was nothing to check.
    pub report: Option<Report>,
}

/// What became of a file that was to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SealOutcome {
    /// It has a seal now.
    Sealed,
    /// It had a seal that didn't hold, and has one that does.
    Renewed,
    /// It had a seal, and that one holds.
    Holds,
    /// It carries a proof, and needs no seal.
    Proven,
    /// Its seal doesn't hold: the file isn't the one that was sealed.
    Broken,
    /// It is damaged, or can't be read.
    Refused,
}

impl SealOutcome {
    /// All of them, in the order of their documentation.
    pub const ALL: [Self; 6] =
        [Self::Sealed, Self::Renewed, Self::Holds, Self::Proven, Self::Broken, Self::Refused];

    /// Returns the word used in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Renewed => "renewed",
            Self::Holds => "holds",
            Self::Proven => "proven",
            Self::Broken => "broken",
            Self::Refused => "refused",
        }
    }

    /// Returns whether later damage of the file will show.
    pub fn is_good(self) -> bool {
        !matches!(self, Self::Broken | Self::Refused)
    }
}

impl fmt::Display for SealOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
