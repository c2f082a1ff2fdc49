//! Bytes out: pieces of memory to their places in a file, at the device's speed, with their digests.
//!
//! The file is seen as windows of [`BLOCK_BYTES`](crate::record::BLOCK_BYTES). Threads take windows in the
//! file's order, put together in a buffer what lies in one, and write it: [`write_pieces`]. What lies
//! between the pieces, and tells of their digests, follows with [`write_head`].

mod compose;
mod engine;
mod head;
mod layout;
mod piece;
mod pipeline;
#[cfg(test)]
mod tests;

pub use engine::write_pieces;
pub use head::write_head;
pub use piece::{Piece, PieceDigest, WriteError, WriteOptions};
