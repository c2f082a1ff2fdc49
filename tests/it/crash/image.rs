//! What a disk holds: paths and bytes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// The bytes of a file, shared between the images that have it.
pub(super) type Bytes = Arc<Vec<u8>>;

/// The files by their paths. A directory's path ends in a slash, and it has no bytes; one that holds something
/// stands here itself as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image(BTreeMap<OsString, Bytes>);

impl Image {
    /// Adds a file.
    pub(super) fn with(mut self, name: impl Into<OsString>, bytes: impl Into<Bytes>) -> Self {
        self.0.insert(name.into(), bytes.into());
        self
    }

    /// Returns a file's bytes; `None` where there is none of that path.
    pub(super) fn get(&self, name: impl AsRef<OsStr>) -> Option<&Bytes> {
        self.0.get(name.as_ref())
    }

    /// Returns paths and bytes, sorted by path.
    pub(super) fn files(&self) -> impl Iterator<Item = (&OsString, &Bytes)> {
        self.0.iter()
    }

    /// Returns the paths, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

impl FromIterator<(OsString, Bytes)> for Image {
    fn from_iter<I: IntoIterator<Item = (OsString, Bytes)>>(files: I) -> Self {
        Self(files.into_iter().collect())
    }
}
