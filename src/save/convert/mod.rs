//! From one format to another, piece by piece.
//!
//! The source is verified, then opened as a state whose bytes are read when they are written (`load`). What
//! the other format can't hold is named (`fit`), and refused unless it may be left out. Memory is bounded by
//! the largest tensor that can't be read piece by piece.

mod fit;
mod options;
mod run;

pub(super) use fit::{Fitted, fit};
pub use options::ConvertOptions;
pub use run::convert;
pub(super) use run::{refuse_change, refuse_same};
