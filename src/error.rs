//! The one public error.
//!
//! A damaged checkpoint is no error of this library: checks return a [`Report`](crate::Report) with
//! findings. An [`Error`] says that what was asked for could not be done: a path that can't be read,
//! an option that makes no sense. It states facts; the command adds hints and the exit code.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    #[source]
    source: Option<io::Error>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for makes no sense: a pattern, a level, a limit.
    Usage,
    /// A path could not be read or written.
    Io,
    /// There is nothing to check.
    Nothing,
    /// The contents can't be read: damaged, or of no use here.
    Damaged,
}

impl Error {
    /// Makes an error about what was asked for.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, message: message.into(), path: None, source: None }
    }

    /// Makes an error that says there is nothing to check at `path`.
    pub fn nothing(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Nothing, message: message.into(), path: Some(path.into()), source: None }
    }

    /// Makes an error of the operating system, with the path that it is about.
    pub fn io(path: impl Into<PathBuf>, doing: &str, source: io::Error) -> Self {
        Self {
            kind: ErrorKind::Io,
            message: format!("can't {doing}"),
            path: Some(path.into()),
            source: Some(source),
        }
    }

    /// Makes an error that says why the contents of `path` can't be read.
    pub fn damaged(path: impl Into<PathBuf>, message: &str) -> Self {
        Self { kind: ErrorKind::Damaged, message: message.to_owned(), path: Some(path.into()), source: None }
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the path that the error is about.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}
