use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use crate::format::torch::Pickled;
use crate::record::Level;
use crate::tensor::State;

/// One of the checkpoints of a series.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SeriesItem<'a> {
    /// Values: an archive that `torch.load` reads, with its proof inside. The root may be a tensor.
    State(&'a State<'a>),
    /// What only Python's pickler could write down: as above.
    Pickled(&'a Pickled<'a>),
    /// Bytes of somebody's own, which are kept as they are. They carry no proof: their digest is
    /// [`SavedItem::digest`], for the caller to keep.
    Bytes(&'a [u8]),
}

/// Where an item is in the file, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedItem {
    /// Its bytes of the file.
    pub range: Range<u64>,
    /// The id of the proof that it carries, or the digest of its bytes: `crc64-nvme:…`.
    pub digest: String,
    /// Whether it carries a proof.
    pub is_proven: bool,
}

/// A series that was saved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SavedSeries {
    /// Where: links followed.
    pub path: PathBuf,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The items, in the order in which they were given.
    pub items: Vec<SavedItem>,
    /// How deep each was verified before the file took its name; `None` where that was left out.
    pub validated: Option<Level>,
    /// How long all of it took.
    pub elapsed: Duration,
}
