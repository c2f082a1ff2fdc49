//! Bytes in and out: reading at an offset, scanning ranges of a file at the device's speed, and writing
//! pieces of one ([`mod@write`]).
//!
//! Formats read headers through [`ReadAt`] and know no paths. To verify a checkpoint, its bulk is only
//! checksummed, never kept: that is [`ScanSource::checksum`], which [`FileSource`] answers with
//! several threads and the cheapest read that the kernel has for each block. To load one, its bulk is read to
//! where it stays, once, and checksummed on the way: [`FileSource::read_arena`] and
//! [`FileSource::read_into`]; or it is left in the file until it is looked at: [`Mapping`].
//! What is saved while the work goes on is copied first: [`Staging`].

pub mod commit;
pub mod write;

mod arena;
mod buffer;
mod file;
mod fill;
mod map;
mod plan;
mod read_at;
mod scan;
mod section;
mod staging;
mod stream;
mod sum;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod system;

pub use arena::Arena;
pub use file::FileSource;
pub use fill::{Feed, FillTarget};
pub use map::Mapping;
pub use read_at::ReadAt;
pub use scan::{ScanOptions, ScanSource};
pub use section::Section;
pub use staging::Staging;
