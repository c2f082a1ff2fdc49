//! How the command ends.

use std::io;
use std::process::ExitCode;

use crate::error::Error;

/// The ways in which the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything asked for was done; all checkpoints are valid.
    Done,
    /// At least one checkpoint is not valid.
    NotValid,
    /// Wrong usage, or what was asked for can't be done.
    Usage,
    /// A named directory is itself the problem: missing, unreadable, nothing found.
    Directory,
    /// A pipeline is paused: a stage of it waits for its review.
    Paused,
    /// As a command ended that was run.
    Command(u8),
    /// The reader of the output went away before all was checked: neither good nor bad.
    ReaderGone,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::NotValid => 1,
            Outcome::Usage => 2,
            Outcome::Directory => 3,
            Outcome::Paused => 4,
            Outcome::Command(code) => code,
            // As the shell reports a process that SIGPIPE ended: 128 + 13.
            Outcome::ReaderGone => 141,
        })
    }
}

/// Why the command stopped before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// What is to be said about it.
    Failed(String),
    /// The reader of the output went away. Nothing is said.
    ReaderGone,
}

impl Stop {
    /// Returns how the command ends for it.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(_) => Outcome::Usage,
            Self::ReaderGone => Outcome::ReaderGone,
        }
    }
}

/// An error of writing the output.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(format!("can't write the output: {error}")),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}
