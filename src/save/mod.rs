//! Keeping: one checkpoint in and out, by format, commit and check together.
//!
//! [`save()`] makes a file of a state and doesn't return before it would survive a loss of power; it takes
//! its name only after it was read back and verified, so that there is never half a checkpoint.
//! [`load()`] brings it back, verified while it is read.

mod convert;
mod diff;
mod load;
mod marker;
mod options;
mod saved;
mod store;

pub use convert::{ConvertOptions, convert};
pub use diff::{DiffOptions, diff};
pub use load::{Access, LoadOptions, Target, load, load_into};
pub use options::{Format, Progress, SaveOptions};
pub use saved::Saved;
pub use store::{save, save_on};
