//! From one format to another, piece by piece.
//!
//! The source is verified, then opened as a state whose bytes are read when they are written (`load`). What
//! the other format can't hold is named (`fit`), and refused unless it may be left out. Memory is bounded by
//! the largest tensor that can't be read piece by piece.
//!
//! | of the source | in safetensors | in PyTorch's archive | in a flat one |
//! |---|---|---|---|
//! | tensors, and what they share | kept | kept | kept |
//! | nesting, plain values, keys that are no text | kept, in `ckpt.structure` | kept | lost |
//! | tensors of 4 bits (`f4`) | kept | lost | lost |
//! | NumPy arrays, frozen sets, objects of allowed classes | kept, as data | lost | lost |
//! | devices | kept, in `ckpt.structure` | the CPU, with a note | the CPU, with a note |
//! | metadata, position | kept | kept | kept |
//!
//! What a storage has that no tensor sees may be left out, as [`save`](super::save()) does.

mod fit;
mod options;
mod run;

pub(super) use fit::{Fitted, fit};
pub use options::ConvertOptions;
pub use run::convert;
pub(super) use run::{refuse_change, refuse_same};
