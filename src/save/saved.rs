use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::Format;
use crate::record::{Level, Proof};
use crate::tensor::StorageId;

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
    /// Where the data lies in the file, in order: [`block_ranges`](crate::record::block_ranges) cuts it into
    /// the blocks of the proof.
    pub data: Vec<Range<u64>>,
    /// Where in the file the state's storages begin that are there as they are.
    pub places: Vec<(StorageId, u64)>,
    /// How deep the file was verified before it took its name; `None` where that was left out.
    pub validated: Option<Level>,
    /// How long it took from the first byte until the file was durable, validation left out.
    pub writing: Duration,
    /// How long the validation took.
    pub validating: Duration,
    /// How long all of it took.
    pub elapsed: Duration,
}
