//! Bytes in: reading at an offset, and scanning ranges of a file at the device's speed.
//!
//! Formats read headers through [`ReadAt`] and know no paths. The bulk of a checkpoint is only ever
//! checksummed, never kept: that is [`ScanSource::checksum`], which [`FileSource`] answers with
//! several threads and the cheapest read that the kernel has for each block.

pub mod commit;
pub mod write;

#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "direct reads are made on Linux only"))]
mod buffer;
mod file;
mod plan;
mod read_at;
mod scan;
mod sum;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod system;

pub use file::FileSource;
pub use read_at::ReadAt;
pub use scan::{ScanOptions, ScanSource};
