//! The one public error.
//!
//! A damaged checkpoint is no error of a check: checks return a [`Report`](crate::Report) with findings.
//! An [`Error`] says that what was asked for could not be done: a path that can't be read, an option that
//! makes no sense, a checkpoint that was to be loaded and is damaged. It states facts; the command adds
//! hints and the exit code.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::record::{Finding, ModelConfigError, Verdict};

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    finding: Option<Box<Finding>>,
    #[source]
    source: Option<io::Error>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for makes no sense, or would lose something: a pattern, a level, a format that can't
    /// hold a value.
    Usage,
    /// A path could not be read or written.
    Io,
    /// There is nothing to check.
    Nothing,
    /// The bytes are damaged.
    Corrupted,
    /// The bytes are fine, and of no use here.
    Incompatible,
}

impl Error {
    /// Makes an error about what was asked for.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Makes an error that says there is nothing to check at `path`.
    pub fn nothing(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Nothing, message).at(path)
    }

    /// Makes an error of the operating system, with the path that it is about.
    pub fn io(path: impl Into<PathBuf>, doing: &str, source: io::Error) -> Self {
        Self { source: Some(source), ..Self::new(ErrorKind::Io, format!("can't {doing}")).at(path) }
    }

    /// Makes an error of what was found: its kind goes by the finding's verdict.
    pub fn of(finding: Finding) -> Self {
        let kind = match finding.verdict {
            Verdict::Corrupted => ErrorKind::Corrupted,
            Verdict::Valid | Verdict::Incompatible => ErrorKind::Incompatible,
            Verdict::Unreadable => ErrorKind::Io,
        };
        let message = format!("{} (level {}{})", finding.message, finding.level, finding.at);
        Self { finding: Some(Box::new(finding)), ..Self::new(kind, message) }
    }

    /// As [`Error::of`], of the file at `path`.
    pub fn found(path: impl Into<PathBuf>, finding: Finding) -> Self {
        Self::of(finding).at(path)
    }

    /// Makes an error about something that is sound and of no use here: of a later version, or of another piece of work.
    pub fn incompatible(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Incompatible, message)
    }

    /// Makes an error about something damaged that is no checkpoint.
    pub fn corrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupted, message)
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), path: None, finding: None, source: None }
    }

    /// Sets the path that the error is about.
    #[must_use]
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Adds what follows from it, behind a semicolon.
    #[must_use]
    pub(crate) fn with_note(mut self, note: &str) -> Self {
        self.message = format!("{}; {note}", self.message);
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the path that the error is about.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns what was found in the file, with level and place, where that is the reason.
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_deref()
    }
}

impl From<ModelConfigError> for Error {
    fn from(error: ModelConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl Clone for Error {
    /// Makes another of the same words. Where its reason is one of the program's own and none of the system's,
    /// the copy has that reason's kind and text.
    fn clone(&self) -> Self {
        let again = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None if source.get_ref().is_none() => source.kind().into(),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        Self {
            kind: self.kind,
            message: self.message.clone(),
            path: self.path.clone(),
            finding: self.finding.clone(),
            source: self.source.as_ref().map(again),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        match self.kind {
            ErrorKind::Corrupted => f.write_str("corrupted: ")?,
            ErrorKind::Incompatible => f.write_str("incompatible: ")?,
            _ => {}
        }
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_copy_says_the_same() {
        let sources = [
            io::Error::from_raw_os_error(5),
            io::ErrorKind::StorageFull.into(),
            io::Error::new(io::ErrorKind::NotFound, "nothing there"),
        ];
        for source in sources {
            let error = Error::io("x", "write it", source);
            let (one, two) = (error.source().unwrap(), error.clone());
            let two = two.source().unwrap();
            assert_eq!(error.to_string(), error.clone().to_string());
            let (one, two): (&io::Error, &io::Error) =
                (one.downcast_ref().unwrap(), two.downcast_ref().unwrap());
            assert_eq!((one.kind(), one.raw_os_error()), (two.kind(), two.raw_os_error()));
        }
        assert!(Error::usage("no").clone().source().is_none());
    }
}
