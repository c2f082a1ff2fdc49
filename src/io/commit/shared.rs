//! A staged directory that several processes fill, and one commits.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::clean::{SHARED_LOCK as LOCK, is_temporary};
use super::disk::{Disk, DiskLock, Locked};
use super::failure::{Step, failure};
use super::lock::take_lock;
use super::staged::StagedDirectory;
use super::temporary::Durability;
use crate::Error;

/// A directory that the processes of a job fill together, beside the place where it will be.
///
/// One process creates it, tells the others where it is, and commits it when all of them are done; every file is to
/// be made durable by who writes it. Unlike a [`StagedDirectory`], it carries a lock of its own, so that several can
/// be staged at one place, and [`clean_shared`] knows what a killed process left. Dropping it removes it.
///
/// ```
/// # let parent = tempfile::tempdir()?;
/// use ckpt::io::commit::{Durability, LocalDisk, SharedDirectory, write_small};
///
/// let shared = SharedDirectory::create(&LocalDisk, parent.path())?;
/// // By any of the processes:
/// write_small(&LocalDisk, &shared.path().join("part-3"), b"hello", Durability::Full)?;
/// let path = shared.commit("step-100", Durability::Full)?;
/// assert_eq!(std::fs::read_dir(path)?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SharedDirectory<'d> {
    disk: &'d dyn Disk,
    // Dropped first, so that it is removed while it is still locked.
    staged: StagedDirectory<'d>,
    lock: Box<dyn DiskLock>,
}

impl<'d> SharedDirectory<'d> {
    /// Creates an empty one in `parent`, a path that [`Disk::resolve`] returned.
    ///
    /// # Errors
    ///
    /// `parent` isn't there, or can't be written to.
    pub fn create(disk: &'d dyn Disk, parent: &Path) -> Result<Self, Error> {
        let staged = StagedDirectory::create(disk, parent)?;
        let path = staged.path().join(LOCK);
        match take_lock(disk, &path, Timestamp::now()) {
            Ok(Locked::Ours(lock)) => Ok(Self { disk, staged, lock }),
            Ok(Locked::Others(holder)) => {
                Err(Error::usage(format!("somebody else took the lock of a new directory: {holder}"))
                    .at(path))
            }
            Err(error) => Err(failure(&path, Step::Create, error)),
        }
    }

    /// Returns where it is, to be filled.
    pub fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Gives the directory its name, and returns its path.
    ///
    /// # Errors
    ///
    /// As [`StagedDirectory::commit`].
    pub fn commit(self, name: &str, durability: Durability) -> Result<PathBuf, Error> {
        let Self { disk, staged, lock } = self;
        let path = staged.commit(name, durability)?;
        // Not before: without its lock, who cleans would take the directory for nobody's. It is no part of the
        // checkpoint, and one that a crash leaves there does no harm.
        drop(disk.remove(&path.join(LOCK)));
        drop(lock);
        Ok(path)
    }
}

/// Removes the shared directories at a place whose processes are gone, and returns how many those were: those whose
/// lock is free, and those without a lock that nothing was written to for a day.
///
/// As with [`clean()`](super::clean()), what can't be listed or removed stays, and nothing is made durable.
pub fn clean_shared(disk: &dyn Disk, directory: &Path) -> usize {
    let names = disk.list(directory).unwrap_or_default();
    let ours = names.iter().filter(|name| is_temporary(name)).map(|name| directory.join(name));
    ours.filter(|path| remove_abandoned(disk, path).unwrap_or(false)).count()
}

fn remove_abandoned(disk: &dyn Disk, path: &Path) -> std::io::Result<bool> {
    if !disk.stat(path)?.is_some_and(|stat| stat.is_directory) {
        return Ok(false);
    }
    let lock = path.join(LOCK);
    if disk.stat(&lock)?.is_none() {
        return disk.remove_abandoned_tree(path, false);
    }
    match take_lock(disk, &lock, Timestamp::now())? {
        Locked::Ours(lock) => disk.remove_abandoned_tree(path, lock.is_sure()),
        Locked::Others(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LocalDisk, clean_staged, write_small};
    use super::*;

    fn fill(parent: &Path) -> SharedDirectory<'static> {
        let shared = SharedDirectory::create(&LocalDisk, parent).unwrap();
        write_small(&LocalDisk, &shared.path().join("a"), b"1", Durability::None).unwrap();
        shared
    }

    #[test]
    fn it_comes_to_its_name_without_its_lock() {
        let parent = tempfile::tempdir().unwrap();
        let path = fill(parent.path()).commit("step-1", Durability::Full).unwrap();
        let names: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a"]);
        let error = fill(parent.path()).commit("step-1", Durability::Full).unwrap_err();
        assert!(error.to_string().contains("was to be kept"), "{error}");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_leftover_is_removed_and_what_is_being_filled_stays() {
        let parent = tempfile::tempdir().unwrap();
        let (first, second) = (fill(parent.path()), fill(parent.path()));
        let (left, filled) = (first.path().to_owned(), second.path().to_owned());
        // As a killed process leaves it: the lock is free, and nothing was removed.
        drop(first);
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), "process 1").unwrap();
        // Young, and without a lock: it may be about to get one, or its name.
        let young = parent.path().join(".ckpt-0123456789abcdef.tmp");
        std::fs::create_dir(&young).unwrap();
        assert_eq!(clean_shared(&LocalDisk, parent.path()), 1);
        assert_eq!((left.exists(), filled.exists(), young.exists()), (false, true, true));
        // Who holds the lock of the place doesn't fill it alone.
        let Locked::Ours(own) = take_lock(&LocalDisk, &parent.path().join("lock"), Timestamp::now()).unwrap()
        else {
            panic!("nobody else is here")
        };
        assert_eq!((clean_staged(&LocalDisk, parent.path(), &*own), filled.exists()), (1, true));
        second.commit("step-1", Durability::None).unwrap();
    }
}
