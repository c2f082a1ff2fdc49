use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use super::{Marker, Seal, names};

/// A directory's entries, sorted by name.
pub(super) struct Listing {
    /// All entries, hidden ones included.
    pub(super) entries: Vec<Entry>,
    /// Set where the system stopped in the middle: the entries are those before.
    pub(super) broken: Option<io::Error>,
    /// The names of markers and seals, sorted: few, or as many as checkpoints.
    companions: Vec<OsString>,
}

/// One entry of a directory.
pub(super) struct Entry {
    /// The name, without the directory.
    pub(super) name: OsString,
    /// What it is.
    pub(super) kind: Kind,
}

/// What an entry is, as the directory itself says; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, to whatever.
    Link,
    /// A device, a pipe, a socket, or unknown.
    Other,
}

impl Kind {
    /// Returns whether opening it can yield a file: not a pipe, which would block.
    pub(super) fn may_be_file(self) -> bool {
        matches!(self, Self::File | Self::Link)
    }

    /// Reads the type from a directory entry.
    fn of(file_type: &io::Result<std::fs::FileType>) -> Self {
        match file_type {
            Ok(kind) if kind.is_file() => Self::File,
            Ok(kind) if kind.is_dir() => Self::Directory,
            Ok(kind) if kind.is_symlink() => Self::Link,
            _ => Self::Other,
        }
    }
}

impl Listing {
    /// Lists a directory. No entry is asked for anything that the listing doesn't say by itself.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut listing = Self { entries: Vec::new(), broken: None, companions: Vec::new() };
        for entry in std::fs::read_dir(path)? {
            match entry {
                Ok(entry) => {
                    listing
                        .entries
                        .push(Entry { kind: Kind::of(&entry.file_type()), name: entry.file_name() });
                }
                Err(error) => {
                    listing.broken = Some(error);
                    break;
                }
            }
        }
        listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let companions = listing.entries.iter().map(|entry| &entry.name);
        listing.companions = companions.filter(|name| names::is_companion(name)).cloned().collect();
        Ok(listing)
    }

    /// Returns whether there is an entry of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.binary_search_by(|entry| entry.name.as_os_str().cmp(OsStr::new(name))).is_ok()
    }

    /// Returns whether a marker or a seal stands beside the file.
    pub(super) fn has_companion(&self, name: &OsStr) -> bool {
        [Marker::SUFFIX, Seal::SUFFIX].iter().any(|suffix| {
            !self.companions.is_empty() && {
                let mut companion = name.to_owned();
                companion.push(suffix);
                self.companions.binary_search(&companion).is_ok()
            }
        })
    }
}
