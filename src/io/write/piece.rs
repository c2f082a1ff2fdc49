use std::fmt;
use std::io;

use crate::Error;
use crate::digest::{Algorithm, Crc32, Digest};
use crate::io::Cancel;
use crate::tensor::Source;

/// A run of bytes with its place in a file.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    /// The first byte's place in the file.
    pub offset: u64,
    /// The bytes.
    pub source: &'a dyn Source,
    /// Whether its digests are wanted: it is data, and not a part of the head.
    pub is_data: bool,
}

impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_data { "data" } else { "head" };
        write!(f, "Piece({what}, {} bytes at {})", self.source.len(), self.offset)
    }
}

/// What was computed of a piece while it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceDigest {
    /// The digests of its parts in each window of the file
    /// ([`BLOCK_BYTES`](crate::record::BLOCK_BYTES)), in order; empty for what is no data.
    pub blocks: Vec<Digest>,
    /// The CRC-32 of the whole piece, where it was asked for.
    pub crc32: Option<Crc32>,
}

/// How pieces are written.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct WriteOptions<'a> {
    /// The most threads to use, the calling one included. Default: 1.
    pub threads: usize,
    /// What the digests of the blocks are computed with.
    pub algorithm: Algorithm,
    /// Whether the CRC-32 of each piece is wanted as well.
    pub crc32: bool,
    /// Hears, from any of the threads, how many further bytes were written.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
    /// Ends the writing with an error. It is looked at before each window.
    pub cancel: Option<&'a Cancel>,
    /// Where the file's windows begin anew: a file of several encodings, one behind the other, has the windows of
    /// each. Sorted, and multiples of the file's alignment. Default: none.
    pub restarts: &'a [u64],
}

impl Default for WriteOptions<'_> {
    fn default() -> Self {
        Self {
            threads: 1,
            algorithm: Algorithm::default(),
            crc32: false,
            progress: None,
            cancel: None,
            restarts: &[],
        }
    }
}

impl fmt::Debug for WriteOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteOptions")
            .field("threads", &self.threads)
            .field("algorithm", &self.algorithm)
            .field("crc32", &self.crc32)
            .field("progress", &self.progress.is_some())
            .field("cancel", &self.cancel)
            .field("restarts", &self.restarts)
            .finish()
    }
}

/// Why pieces could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be written.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The bytes could not be had.
    #[error(transparent)]
    Source(#[from] Error),
}
