use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A file, or a directory of files, that a stage read or left: as it was when the stage was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileRecord {
    /// Where it is, as it was named. A relative path counts from the directory of the state file.
    pub path: String,
    /// Its size in bytes; of a directory, that of all its files.
    pub bytes: u64,
    /// When it was last modified; of a directory, the newest of its files.
    pub modified: Timestamp,
    /// Algorithm and digits: the digest of its bytes, or the id of the proof that it carries. Of a directory, the digest
    /// of its files' paths, sizes and digests, in the order of the paths.
    pub digest: String,
    /// Whether the digest is the id of its proof.
    #[serde(default)]
    pub proven: bool,
    /// How many files it holds, where it is a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// How long it is needed.
    #[serde(default)]
    pub lifetime: Lifetime,
    /// When the pipeline removed it, because it wasn't needed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
}

impl FileRecord {
    /// Makes the record of a file that carries no proof, and is kept.
    pub fn new(path: impl Into<String>, bytes: u64, modified: Timestamp, digest: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            bytes,
            modified,
            digest: digest.into(),
            proven: false,
            files: None,
            lifetime: Lifetime::Keep,
            removed: None,
        }
    }

    /// Sets how long it is needed.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }
}

/// How long a file that a stage left is needed: what a cleanup goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifetime {
    /// It stays.
    #[default]
    Keep,
    /// It may go when all stages of the pipeline are done.
    UntilCompleted,
    /// It may go when every stage that reads it is done, and one is.
    UntilConsumed,
}

impl Lifetime {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Keep, Self::UntilCompleted, Self::UntilConsumed];

    /// Returns the word used in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::UntilCompleted => "until_completed",
            Self::UntilConsumed => "until_consumed",
        }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What tells one state of a file from another: by it is seen whether what a pipeline was begun with has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fingerprint {
    /// Where it is, as it was named. A relative path counts from the directory of the state file.
    pub path: String,
    /// Its size in bytes; of a directory, that of all its files.
    pub bytes: u64,
    /// When it was last modified; of a directory, the newest of its files.
    pub modified: Timestamp,
    /// Algorithm and digits, as those of a [`FileRecord`].
    pub digest: String,
}

impl Fingerprint {
    /// Makes a fingerprint.
    pub fn new(path: impl Into<String>, bytes: u64, modified: Timestamp, digest: impl Into<String>) -> Self {
        Self { path: path.into(), bytes, modified, digest: digest.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_json() {
        for lifetime in Lifetime::ALL {
            assert_eq!(serde_json::to_value(lifetime).unwrap(), lifetime.as_str());
        }
    }
}
