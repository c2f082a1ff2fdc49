//! What holds for the project as a whole, through its public interface and its source.
#![expect(clippy::disallowed_methods, reason = "tests make and damage files of their own")]

#[cfg(feature = "cli")]
mod cli;
mod docs;
mod exhaustive;
mod floors;
