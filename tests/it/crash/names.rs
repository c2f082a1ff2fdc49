//! The names on a disk, as they change.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::image::Image;
use super::journal::{FileId, NameChange};

/// The directory that is always there.
pub(super) const ROOT: FileId = usize::MAX;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) directory: FileId,
    pub(super) name: OsString,
}

/// Names and the files and directories that they stand for.
pub(super) type Names = BTreeMap<Entry, FileId>;

/// The numbers that are directories'.
pub(super) type Directories = BTreeSet<FileId>;

/// A part of a [`NameChange`] that a file system without a journal may do alone.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The name stands for the file from now on.
    Link(Entry, FileId),
    /// The name stands for nothing from now on.
    Unlink(Entry),
    /// Each of the two names stands for what the other one did. A journal has it as one entry, and a file system without
    /// one doesn't offer it.
    Swap((Entry, FileId), (Entry, FileId)),
}

/// Takes out of `pending` what a directory's sync makes durable: the changes of its names, and those before them of names
/// that they change too, in this or another directory. A change is durable as a whole.
pub(super) fn synced(pending: &mut Vec<NameChange>, directory: FileId) -> Vec<NameChange> {
    let mut needed = BTreeSet::new();
    let mut durable = vec![false; pending.len()];
    for (change, durable) in pending.iter().zip(&mut durable).rev() {
        let entries = change.entries();
        *durable = entries.iter().any(|entry| entry.directory == directory || needed.contains(*entry));
        if *durable {
            needed.extend(entries.into_iter().cloned());
        }
    }
    let mut durable = durable.into_iter();
    pending.extract_if(.., |_| durable.next().unwrap_or(false)).collect()
}

/// Numbers what an image holds, in the order of its paths. A directory comes before what is in it.
pub(super) fn numbered(image: &Image) -> (Names, Directories) {
    let (mut names, mut directories, mut known) = (Names::new(), Directories::new(), BTreeMap::new());
    for (file, (path, _)) in image.files().enumerate() {
        let path = path.to_str().expect("a fake path is text");
        let plain = path.strip_suffix('/').unwrap_or(path);
        let (parent, name) = plain.rsplit_once('/').unwrap_or(("", plain));
        let directory = if parent.is_empty() { ROOT } else { known[parent] };
        if plain != path {
            known.insert(plain, file);
            directories.insert(file);
        }
        names.insert(Entry { directory, name: name.into() }, file);
    }
    (names, directories)
}

/// Returns the paths of all that can be reached. A directory's ends in a slash.
pub(super) fn paths(names: &Names, directories: &Directories) -> BTreeMap<OsString, FileId> {
    let mut found = BTreeMap::new();
    let mut todo = vec![(OsString::new(), ROOT)];
    while let Some((above, directory)) = todo.pop() {
        for (name, file) in within(names, directory) {
            let mut path = above.clone();
            path.push(name);
            if directories.contains(file) {
                path.push("/");
                todo.push((path.clone(), *file));
            }
            found.insert(path, *file);
        }
    }
    found
}

/// Returns what is in a directory.
pub(super) fn within(names: &Names, directory: FileId) -> impl Iterator<Item = (&OsStr, &FileId)> {
    let first = Entry { directory, name: OsString::new() };
    let entries = names.range(first..).take_while(move |(entry, _)| entry.directory == directory);
    entries.map(|(entry, file)| (entry.name.as_os_str(), file))
}

impl NameChange {
    /// Returns what it is made of. A rename replaces what had the new name in one step.
    pub(super) fn steps(&self) -> Vec<Step> {
        match self {
            Self::Create(entry, file) | Self::CreateDirectory(entry, file) => {
                vec![Step::Link(entry.clone(), *file)]
            }
            Self::Rename(from, to, file) => {
                vec![Step::Link(to.clone(), *file), Step::Unlink(from.clone())]
            }
            Self::Swap(one, other) => vec![Step::Swap(one.clone(), other.clone())],
            Self::Remove(entry) => vec![Step::Unlink(entry.clone())],
        }
    }

    /// Returns the names that it changes: of one directory, or of two.
    pub(super) fn entries(&self) -> Vec<&Entry> {
        match self {
            Self::Create(entry, _) | Self::CreateDirectory(entry, _) | Self::Remove(entry) => vec![entry],
            Self::Rename(from, to, _) => vec![from, to],
            Self::Swap((one, _), (other, _)) => vec![one, other],
        }
    }

    /// Does all of it.
    pub(super) fn apply(&self, names: &mut Names) {
        for step in self.steps() {
            step.apply(names);
        }
    }
}

impl Step {
    /// Does it.
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(entry, file) => drop(names.insert(entry.clone(), *file)),
            Self::Unlink(entry) => drop(names.remove(entry)),
            Self::Swap((one, first), (other, second)) => {
                names.insert(one.clone(), *second);
                names.insert(other.clone(), *first);
            }
        }
    }
}
