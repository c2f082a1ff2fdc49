//! Sealing: the digests of a file that carries no proof, noted beside it.
//!
//! Most of the checkpoints in the world were written by others. A safetensors file has no checksums at all; those of
//! a PyTorch archive aren't looked at when it is loaded. A seal makes such a file provable from then on, and leaves
//! its bytes alone.

mod file;
mod options;

pub use file::seal;
pub use options::SealOptions;
