//! How what goes wrong becomes an error.

use std::io;
use std::path::Path;

use crate::Error;
use crate::format::Flaw;
use crate::record::{Code, Finding, Level};

/// Makes an error of a flaw: a finding as it is, an I/O error as one.
pub(super) fn flaw(path: &Path, flaw: Flaw) -> Error {
    match flaw {
        Flaw::Found(finding) => Error::found(path, *finding),
        Flaw::Io(error) => io_error(path, error),
    }
}

/// Makes an error of one of the operating system. A file that ended early was cut meanwhile.
pub(super) fn io_error(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::found(path, shorter()),
        _ => Error::io(path, "read it", error),
    }
}

/// Makes a finding of a flaw, to be remembered.
pub(super) fn finding(flaw: Flaw) -> Finding {
    match flaw {
        Flaw::Found(finding) => *finding,
        Flaw::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => shorter(),
        Flaw::Io(error) => {
            Finding::unreadable(Code::IoError, Level::Load, format!("it can't be read: {error}"))
        }
    }
}

fn shorter() -> Finding {
    let message = "the file became shorter while it was read: load it again";
    Finding::unreadable(Code::ChangedWhileRead, Level::Load, message)
}
