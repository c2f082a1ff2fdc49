use std::fmt;

use serde::{Deserialize, Serialize};

/// What a check says of a checkpoint, or of one fact about it.
///
/// The order is by weight: the verdict of a report is the greatest of its findings' verdicts.
/// `Corrupted` outranks `Incompatible`, because damaged bytes say nothing reliable about what they
/// were meant for; `Unreadable` outranks both, because the check itself did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that was asked for passed. On a finding: a note or a warning.
    Valid,
    /// The bytes are fine, and this reader or this model can't use them.
    Incompatible,
    /// The bytes are damaged.
    Corrupted,
    /// The check itself could not run: permission, I/O error.
    Unreadable,
}

impl Verdict {
    /// Returns the word used in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Incompatible => "incompatible",
            Self::Corrupted => "corrupted",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
