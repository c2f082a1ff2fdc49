use std::collections::BTreeMap;

use crate::Error;
use crate::digest::Algorithm;
use crate::io::write::{Piece, PieceDigest};
use crate::record::{Position, Proof};
use crate::tensor::StorageId;

/// A state as a file of some format: which bytes go where.
///
/// The data's digests aren't known before it is written, and the head holds them: so the data goes first,
/// and the head, whose length is known, last.
pub trait Encoding: Send + Sync {
    /// Returns the length of the file in bytes.
    fn len(&self) -> u64;

    /// Returns the data, and what of the head doesn't depend on its digests; sorted, without overlaps.
    fn pieces(&self) -> Vec<Piece<'_>>;

    /// Returns where the storages of the state begin whose bytes are in the file as they are, one behind the
    /// other; in the order of the file.
    fn places(&self) -> Vec<(StorageId, u64)>;

    /// Returns whether the format holds the CRC-32 of each piece of data.
    fn needs_crc32(&self) -> bool;

    /// Makes the rest of the head. `digests` are those of [`Encoding::pieces`], in the same order.
    fn finish(&self, digests: &[PieceDigest]) -> Head;

    /// Returns whether there are no bytes; no format has such files.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The part of a file that is made last.
#[derive(Clone, Debug)]
pub struct Head {
    /// Runs of bytes with their places, sorted. They lie where the pieces left gaps, and fill all of them.
    pub parts: Vec<(u64, Vec<u8>)>,
    /// The proof that is among them.
    pub proof: Proof,
}

/// What goes into a file beside the state.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EncodeOptions {
    /// What the proof's digests are computed with.
    pub algorithm: Algorithm,
    /// Where in the work the checkpoint was made.
    pub position: Option<Position>,
    /// The caller's own metadata: keys and texts. Keys beginning with `ckpt.` are the project's.
    pub metadata: BTreeMap<String, String>,
}

impl EncodeOptions {
    /// Refuses metadata whose keys are the project's own.
    ///
    /// # Errors
    ///
    /// A key begins with `ckpt.`.
    pub fn check(&self) -> Result<(), Error> {
        match self.metadata.keys().find(|key| key.starts_with("ckpt.")) {
            None => Ok(()),
            Some(key) => Err(Error::usage(format!(
                "the metadata key '{}' begins with 'ckpt.', which is kept for the project's own",
                key.escape_debug()
            ))),
        }
    }
}

/// Who writes: what a proof names as its writer.
pub const WRITER: &str = concat!("ckpt/", env!("CARGO_PKG_VERSION"));
