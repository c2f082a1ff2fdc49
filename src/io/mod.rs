//! Bytes in: reading at an offset, and scanning ranges of a file at the device's speed.

mod read_at;

pub use read_at::ReadAt;
