use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Report;

/// The name and version of the document that says what was copied.
pub const COPY_SCHEMA: &str = "ckpt.copy/1";

/// What was copied, and what was known of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Copied {
    /// Always [`COPY_SCHEMA`].
    pub schema: String,
    /// The checkpoint that was to be copied. In JSON, bytes of a path that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub source: PathBuf,
    /// Where to: the file, the shard index or the directory that the copy has.
    #[serde(with = "super::report::lossy_path")]
    pub destination: PathBuf,
    /// What the check of the source found.
    pub report: Report,
    /// The files, in the order in which they took their names; none where the source was refused.
    pub files: Vec<CopiedFile>,
    /// The size of all of them, in bytes.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// A file that was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFile {
    /// The original.
    #[serde(with = "super::report::lossy_path")]
    pub source: PathBuf,
    /// The copy.
    #[serde(with = "super::report::lossy_path")]
    pub destination: PathBuf,
    /// The size in bytes.
    pub bytes: u64,
    /// The digest of the bytes, as a seal has it: the algorithm, a colon, the digest of the digests of
    /// blocks. The copy was read back from the device and had the same.
    pub digest: String,
    /// Whether a completion marker stands beside the copy.
    pub marker: bool,
    /// Whether a seal stands beside the copy.
    pub seal: bool,
}
