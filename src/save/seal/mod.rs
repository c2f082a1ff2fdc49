//! Sealing: the digests of a file that carries no proof, noted beside it.

mod file;
mod options;

pub use file::seal;
pub use options::SealOptions;
