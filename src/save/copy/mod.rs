//! Copying: the same bytes under another name, verified before, read back after.
//!
//! `plan` decides what goes where, before anything is read; `file` copies one file; `beside` keeps completion
//! marker and seal true meanwhile; `run` brings them together.

mod beside;
mod file;
mod options;
mod plan;
mod run;
#[cfg(test)]
mod tests;

pub use options::CopyOptions;
pub use run::{Copying, copy};
