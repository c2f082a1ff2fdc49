//! Copying: the same bytes under another name, verified before, read back after.
//!
//! What can go wrong while a large file is copied, and what becomes of it:
//!
//! | event | outcome |
//! |---|---|
//! | the source is damaged | it is refused, before anything is written |
//! | the source is written to meanwhile | an error; the copy is dropped |
//! | memory, controller or device change a byte on the way | reading back finds it; the copy is dropped |
//! | the disk is full | an error, before the first byte where the file system reserves room |
//! | the process is killed, the power goes | the destination is the old file or the new one, whole |
//!
//! The source is read twice: once to be verified, once to be copied. A byte that is wrong in the second reading
//! alone would be copied; where the file carries a seal, it is held against that reading as well.
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
