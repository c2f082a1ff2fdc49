use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::FormatKind;

/// The name and version of the document that says what was converted.
pub const CONVERT_SCHEMA: &str = "ckpt.convert/1";

/// What was converted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Converted {
    /// Always [`CONVERT_SCHEMA`].
    pub schema: String,
    /// The checkpoint that was read. In JSON, bytes of a path that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub source: PathBuf,
    /// The file that was written.
    #[serde(with = "super::report::lossy_path")]
    pub destination: PathBuf,
    /// The format of the source.
    pub from: FormatKind,
    /// The format that was written: `safetensors`, `torch`, `torch-flat`.
    pub to: String,
    /// How many tensors were written; a shared one counts at every place.
    pub tensors: u64,
    /// The size of the file that was written, in bytes.
    pub bytes: u64,
    /// The id of its proof: the digest of the file.
    pub proof: String,
    /// What the format couldn't hold, and was left out because that was allowed.
    pub dropped: Vec<Dropped>,
    /// What is said otherwise than before, without anything being lost.
    pub notes: Vec<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// A value that a format can't hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The keys that lead to it, joined by dots; empty for the top level.
    pub path: String,
    /// Why, in words.
    pub reason: String,
}
