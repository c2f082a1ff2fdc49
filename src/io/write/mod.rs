//! Bytes out: pieces of memory to their places in a file, at the device's speed, with their digests.

mod piece;

pub use piece::{Piece, PieceDigest, WriteError, WriteOptions};
