//! What went wrong on the way to a name, and what can be done about it.

use std::io;
use std::path::Path;

use crate::Error;

/// The steps of a commit, as its errors name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Following the destination's links.
    Resolve,
    /// Creating the temporary file.
    Create,
    /// Reserving room for all bytes.
    Reserve,
    /// Writing them.
    Write,
    /// Setting permissions and making the bytes durable.
    Sync,
    /// Giving the file its name.
    Rename,
    /// Making that durable: the file has its name by now.
    SyncDirectory,
    /// Closing it: the file has its name by now.
    Close,
    /// Removing a file or a directory.
    Remove,
    /// Creating a directory.
    CreateDirectory,
    /// Giving it another name, so that something else may have its own.
    SetAside,
    /// Deleting what a removed directory holds: it has lost its name by now.
    Delete,
}

impl Step {
    fn doing(self) -> &'static str {
        match self {
            Self::Resolve => "find where to save it",
            Self::Create => "make a temporary file beside it",
            Self::Reserve => "reserve room for it",
            Self::Write => "write it",
            Self::Sync => "make its bytes durable",
            Self::Rename => "give it its name",
            Self::SyncDirectory => "make its new name durable, which it has by now",
            Self::Close => "close it, after it was saved",
            Self::Remove => "remove it",
            Self::CreateDirectory => "make this directory",
            Self::SetAside => "set it aside",
            Self::Delete => "delete all that was in it, after it was removed",
        }
    }

    /// Says what can be done about an error of that kind.
    fn remedy(self, kind: io::ErrorKind) -> Option<&'static str> {
        match (self, kind) {
            (Self::Resolve | Self::Create, io::ErrorKind::NotFound) => {
                Some("its directory isn't there: make it first")
            }
            (Self::Rename, io::ErrorKind::NotFound) => Some("somebody removed the temporary file"),
            (Self::Rename, io::ErrorKind::AlreadyExists) => {
                Some("something has that name and was to be kept: choose another name, or have it replaced")
            }
            (_, io::ErrorKind::NotADirectory) => Some("a part of its path is no directory"),
            (_, io::ErrorKind::PermissionDenied) => {
                Some("this user may not write in its directory: change that, or save elsewhere")
            }
            (_, io::ErrorKind::ReadOnlyFilesystem) => Some("the file system is mounted read-only"),
            (_, io::ErrorKind::InvalidFilename) => Some("its name is too long: choose a shorter one"),
            (_, io::ErrorKind::StorageFull) => Some("the file system is full: make room, or save elsewhere"),
            (_, io::ErrorKind::QuotaExceeded) => {
                Some("this user's quota is used up: make room, or have it raised")
            }
            (_, io::ErrorKind::FileTooLarge) => {
                Some("the file system, or a limit of this process, has no files that large")
            }
            _ => None,
        }
    }
}

/// Makes the error of a step on the way to `path`.
pub(super) fn failure(path: &Path, step: Step, source: io::Error) -> Error {
    match step.remedy(source.kind()) {
        Some(remedy) => Error::io(path, &format!("{} ({remedy})", step.doing()), source),
        None => Error::io(path, step.doing(), source),
    }
}

/// Makes the error of a file that there is no room for. `free` is what was free before it was written.
pub(super) fn no_room(path: &Path, step: Step, needed: u64, free: Option<u64>, source: io::Error) -> Error {
    let free = free.map_or_else(|| "how many are free isn't known".into(), |free| format!("{free} are free"));
    let facts = format!("it needs {needed} bytes, and {free}: make room, or save elsewhere");
    Error::io(path, &format!("{} ({facts})", step.doing()), source)
}
