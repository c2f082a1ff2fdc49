use std::path::PathBuf;
use std::time::Duration;

use super::Format;
use crate::record::{Level, Proof};

/// What was saved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Saved {
    /// Where: links followed.
    pub path: PathBuf,
    /// The format.
    pub format: Format,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The proof that the file carries. [`Proof::id`] is the digest of the file.
    pub proof: Proof,
    /// How deep the file was verified before it took its name; `None` where that was left out.
    pub validated: Option<Level>,
    /// How long it took from the first byte until the file was durable, validation left out.
    pub writing: Duration,
    /// How long the validation took.
    pub validating: Duration,
    /// How long all of it took.
    pub elapsed: Duration,
}
