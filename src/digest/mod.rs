//! Checksums and digests, and how those of neighbouring blocks combine.
//!
//! CRC-32 (IEEE 802.3, as ZIP uses it) and CRC-64/NVME by `crc-fast`, which run at memory speed. A file is
//! read by several threads in blocks; each block's checksum is taken while the block is in cache, and the
//! blocks' checksums combine into that of the whole. [`Algorithm`] names what a proof is made with.

mod algorithm;
mod crc;

pub use algorithm::{Algorithm, Digest, Hasher};
pub use crc::{Crc32, Crc64};
