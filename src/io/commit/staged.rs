//! A directory on its way to its name.

use std::io;
use std::path::{Path, PathBuf};

use super::clean::temporary_name;
use super::disk::{Disk, Existing};
use super::failure::{Step, failure};
use super::temporary::Durability;
use crate::Error;

/// How many names are tried. They can't be foreseen, so that the first is free.
const MAX_NAMES: usize = 100;

/// A directory that is filled beside the place where it will be, and gets its name when all is in it.
///
/// Dropping it removes it. Only one at a time fills directories at a place: who holds the lock that stands for
/// it. So what is staged needs no lock of its own, and [`clean_staged`](super::clean_staged) knows a leftover.
///
/// ```
/// # let parent = tempfile::tempdir()?;
/// use ckpt::io::commit::{Durability, LocalDisk, StagedDirectory, write_small};
///
/// let staged = StagedDirectory::create(&LocalDisk, parent.path())?;
/// write_small(&LocalDisk, &staged.path().join("notes"), b"hello", Durability::Full)?;
/// let path = staged.commit("step-0000000100", Durability::Full)?;
/// assert_eq!(path, parent.path().join("step-0000000100"));
/// assert_eq!(std::fs::read(path.join("notes"))?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StagedDirectory<'d> {
    disk: &'d dyn Disk,
    parent: PathBuf,
    path: PathBuf,
    /// Whether the directory has its final name, and this one is nobody's.
    is_final: bool,
}

impl<'d> StagedDirectory<'d> {
    /// Creates an empty one in `parent`, a path that [`Disk::resolve`] returned.
    ///
    /// # Errors
    ///
    /// `parent` isn't there, or can't be written to.
    pub fn create(disk: &'d dyn Disk, parent: &Path) -> Result<Self, Error> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..MAX_NAMES {
            let path = parent.join(temporary_name());
            match disk.create_directory(&path) {
                Ok(()) => return Ok(Self { disk, parent: parent.to_owned(), path, is_final: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(failure(&path, Step::CreateDirectory, error)),
            }
        }
        Err(failure(parent, Step::CreateDirectory, last))
    }

    /// Returns where it is, to be filled. Each file is to be made durable by who writes it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its name, and returns its path. What it holds has its names before.
    ///
    /// # Errors
    ///
    /// Something has that name: it stays as it is. Or the directory can't be renamed or synced; after the error
    /// of the last sync, which says so, it has its name.
    pub fn commit(mut self, name: &str, durability: Durability) -> Result<PathBuf, Error> {
        let path = self.parent.join(name);
        if durability == Durability::Full {
            self.disk.sync_directory(&self.path).map_err(|error| failure(&path, Step::Sync, error))?;
        }
        let renamed = self.disk.rename(&self.path, &path, Existing::Keep);
        renamed.map_err(|error| failure(&path, Step::Rename, error))?;
        self.is_final = true;
        if durability == Durability::Full {
            let synced = self.disk.sync_directory(&self.parent);
            synced.map_err(|error| failure(&path, Step::SyncDirectory, error))?;
        }
        Ok(path)
    }
}

impl Drop for StagedDirectory<'_> {
    fn drop(&mut self) {
        if !self.is_final {
            // What can't be removed now is removed by who holds the lock next.
            drop(self.disk.remove_tree(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LocalDisk, write_small};
    use super::*;

    #[test]
    fn what_is_dropped_is_gone_and_what_is_committed_is_there() {
        let parent = tempfile::tempdir().unwrap();
        let fill = || {
            let staged = StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
            write_small(&LocalDisk, &staged.path().join("a"), b"1", Durability::None).unwrap();
            staged
        };
        drop(fill());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        for durability in [Durability::Full, Durability::None] {
            let name = format!("{durability:?}");
            let path = fill().commit(&name, durability).unwrap();
            assert_eq!(std::fs::read(path.join("a")).unwrap(), b"1");
        }
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_has_the_name_stays() {
        let parent = tempfile::tempdir().unwrap();
        for (name, is_file) in [("directory", false), ("file", true)] {
            let there = parent.path().join(name);
            let made = if is_file { std::fs::write(&there, "old") } else { std::fs::create_dir(&there) };
            made.unwrap();
            let staged = StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
            let error = staged.commit(name, Durability::Full).unwrap_err().to_string();
            assert!(error.contains("was to be kept"), "{error}");
            assert_eq!(there.is_file(), is_file);
        }
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2);
    }
}
