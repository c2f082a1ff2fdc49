//! Keeping: one checkpoint in and out, with format, commit and check together.

mod load;

pub use load::{Access, LoadOptions, Target, load, load_into};
