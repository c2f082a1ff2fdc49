//! What holds for the project as a whole, through its public interface and its source.
#![allow(clippy::disallowed_methods, reason = "tests make and damage files of their own")]

#[cfg(test)]
mod floors;
