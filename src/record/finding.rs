use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Code, Level, Verdict};

/// One fact found by a check: what, where, how grave.
///
/// A finding with the verdict [`Verdict::Valid`] is a note: it says something worth knowing and
/// changes nothing. What to do about a finding is the reader's business: the command adds hints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The kind of fact, stable across versions.
    pub code: Code,
    /// The level whose check found it.
    pub level: Level,
    /// What this fact alone says of the checkpoint.
    pub verdict: Verdict,
    /// The fact in words, with figures. One sentence, no final period.
    pub message: String,
    /// Where in the checkpoint.
    #[serde(default)]
    pub at: Place,
}

impl Finding {
    /// Makes a finding with no place.
    pub fn new(code: Code, level: Level, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { code, level, verdict, message: message.into(), at: Place::default() }
    }

    /// Makes a finding that says the bytes are damaged.
    pub fn corrupted(code: Code, level: Level, message: impl Into<String>) -> Self {
        Self::new(code, level, Verdict::Corrupted, message)
    }

    /// Makes a finding that says the bytes are fine and can't be used.
    pub fn incompatible(code: Code, level: Level, message: impl Into<String>) -> Self {
        Self::new(code, level, Verdict::Incompatible, message)
    }

    /// Makes a finding that says the check could not run.
    pub fn unreadable(code: Code, level: Level, message: impl Into<String>) -> Self {
        Self::new(code, level, Verdict::Unreadable, message)
    }

    /// Makes a finding that changes no verdict.
    pub fn note(code: Code, level: Level, message: impl Into<String>) -> Self {
        Self::new(code, level, Verdict::Valid, message)
    }

    /// Sets the byte offset in the file.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.at.offset = Some(offset);
        self
    }

    /// Sets the tensor, by its name in the checkpoint.
    #[must_use]
    pub fn at_tensor(mut self, name: impl Into<String>) -> Self {
        self.at.tensor = Some(name.into());
        self
    }

    /// Sets the record of the archive, by its name there.
    #[must_use]
    pub fn at_record(mut self, name: impl Into<String>) -> Self {
        self.at.record = Some(name.into());
        self
    }

    /// Sets the key or pattern that was asked for.
    #[must_use]
    pub fn at_key(mut self, key: impl Into<String>) -> Self {
        self.at.key = Some(key.into());
        self
    }

    /// Sets the artifact of a checkpoint that has several files.
    #[must_use]
    pub fn at_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.at.file = Some(file.into());
        self
    }

    /// Returns whether the finding changes the verdict.
    pub fn is_failure(&self) -> bool {
        self.verdict != Verdict::Valid
    }
}

/// Where in a checkpoint a finding lies. What doesn't apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The artifact, in a checkpoint of several files; relative to the checkpoint's directory.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::report::lossy_path_option")]
    pub file: Option<PathBuf>,
    /// The record of a ZIP archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// The required key or pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The byte offset in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Prints each part behind a comma, names without control characters: `, tensor w, offset 4096`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, ", file {}", file.to_string_lossy().escape_debug())?;
        }
        let names = [("record", &self.record), ("tensor", &self.tensor), ("key", &self.key)];
        for (kind, name) in names {
            if let Some(name) = name {
                write!(f, ", {kind} {}", name.escape_debug())?;
            }
        }
        self.offset.map_or(Ok(()), |offset| write!(f, ", offset {offset}"))
    }
}
