//! The names in a directory, as they change.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::journal::{FileId, NameChange};

/// Names and the files that they stand for.
pub(super) type Names = BTreeMap<OsString, FileId>;

/// A part of a [`NameChange`] that a file system without a journal may do alone.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The name stands for the file from now on.
    Link(OsString, FileId),
    /// The name stands for nothing from now on.
    Unlink(OsString),
}

impl NameChange {
    /// Returns what it is made of. A rename replaces what had the new name in one step.
    pub(super) fn steps(&self) -> Vec<Step> {
        match self {
            Self::Create(name, file) => vec![Step::Link(name.clone(), *file)],
            Self::Rename(from, to, file) => {
                vec![Step::Link(to.clone(), *file), Step::Unlink(from.clone())]
            }
            Self::Remove(name) => vec![Step::Unlink(name.clone())],
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
            Self::Link(name, file) => names.insert(name.clone(), *file),
            Self::Unlink(name) => names.remove(name),
        };
    }
}
