//! A directory on its way to its name.

use std::io;
use std::path::{Path, PathBuf};

use super::clean::temporary_name;
use super::disk::{Disk, Existing};
use super::failure::{Step, failure};
use super::temporary::{Durability, directory_of};
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
        self.sync(&path, durability)?;
        let renamed = self.disk.rename(&self.path, &path, Existing::Keep);
        renamed.map_err(|error| failure(&path, Step::Rename, error))?;
        self.is_final = true;
        self.sync_parent(&path, durability)?;
        Ok(path)
    }

    /// Gives the directory its name, also where another directory has it: that one is removed.
    ///
    /// The two change places in one step, so that one of them has the name at every moment, and the old one goes
    /// when the new one is durable. Where the file system can't do that, the old one is called `.NAME.before` for a
    /// moment; where a crash left it so, the next call gives it its name back, or removes it. The name may lie in a directory below that is there: `checkpoints/7`.
    ///
    /// # Errors
    ///
    /// As those of [`commit`](Self::commit). What has the name and is no directory stays as it is.
    pub fn replace(self, name: &str, durability: Durability) -> Result<PathBuf, Error> {
        let whole = self.path.clone();
        self.replace_by(&whole, name, durability)
    }

    /// As [`replace`](Self::replace), by the directory that has this name within the staged one: that one gets its
    /// name beside the staged one, and the rest is removed. For writers that name the directory that they fill.
    ///
    /// # Errors
    ///
    /// As those of [`replace`](Self::replace), or there is no such directory in the staged one.
    pub fn replace_by_part(self, name: &str, durability: Durability) -> Result<PathBuf, Error> {
        let part = self.path.join(name);
        self.replace_by(&part, name, durability)
    }

    /// Removes the directory that has a name beside the staged one, and the staged one: it loses its name first, and is
    /// never seen in part. Returns whether there was one. The name may lie in a directory below.
    ///
    /// # Errors
    ///
    /// It can't be renamed: it is as it was. Or that can't be made durable: then nothing of it is deleted.
    pub fn remove(mut self, name: &str) -> Result<bool, Error> {
        let path = self.parent.join(name);
        let failed = |error| failure(&path, Step::Remove, error);
        match self.disk.rename(&path, &self.path.join("removed"), Existing::Keep) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
        let synced = self.disk.sync_directory(directory_of(&path)).map_err(failed);
        self.is_final = synced.is_err();
        synced.map(|()| true)
    }

    /// Gives `from` its name. What is at the staged path afterwards, the old one included, is removed.
    fn replace_by(mut self, from: &Path, name: &str, durability: Durability) -> Result<PathBuf, Error> {
        let path = self.parent.join(name);
        let failed = |error| failure(&path, Step::Rename, error);
        if durability == Durability::Full {
            self.disk.sync_directory(from).map_err(|error| failure(&path, Step::Sync, error))?;
        }
        self.bring_back(&path).map_err(failed)?;
        let is_there = self.disk.stat(&path).map_err(failed)?.is_some_and(|stat| stat.is_directory);
        let existing = if is_there { Existing::Swap } else { Existing::Keep };
        match self.disk.rename(from, &path, existing) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.rename_in_turn(from, &path, durability).map_err(failed)?;
            }
            result => result.map_err(failed)?,
        }
        // What can't be made durable may have its old name again after a crash: then nothing is removed.
        let synced = self.sync_parent(&path, durability);
        self.is_final = synced.is_err() || (!is_there && from == self.path);
        synced.map(|()| path)
    }

    /// Renames `from`, after what has that name got another one: none that counts as temporary, since it is the only
    /// one there is for a moment. Each step is durable before the next one takes a name away.
    fn rename_in_turn(&self, from: &Path, path: &Path, durability: Durability) -> io::Result<()> {
        let aside = aside(path);
        let sync = || match durability {
            Durability::Full => self.disk.sync_directory(directory_of(path)),
            Durability::None => Ok(()),
        };
        self.disk.rename(path, &aside, Existing::Keep)?;
        match sync().and_then(|()| self.disk.rename(from, path, Existing::Keep)) {
            // As if they had changed places.
            Ok(()) => sync().and_then(|()| self.disk.rename(&aside, from, Existing::Keep)),
            Err(error) => self.disk.rename(&aside, path, Existing::Keep).and(Err(error)),
        }
    }

    /// Gives a directory its name back that a crash left aside; one that was replaced meanwhile is removed.
    fn bring_back(&self, path: &Path) -> io::Result<()> {
        let aside = aside(path);
        if self.disk.stat(&aside)?.is_none() {
            return Ok(());
        }
        match self.disk.stat(path)? {
            None => self.disk.rename(&aside, path, Existing::Keep),
            Some(_) => self.disk.remove_tree(&aside),
        }
    }

    fn sync(&self, path: &Path, durability: Durability) -> Result<(), Error> {
        match durability {
            Durability::Full => {
                self.disk.sync_directory(&self.path).map_err(|error| failure(path, Step::Sync, error))
            }
            Durability::None => Ok(()),
        }
    }

    fn sync_parent(&self, path: &Path, durability: Durability) -> Result<(), Error> {
        match durability {
            Durability::Full => {
                let synced = self.disk.sync_directory(directory_of(path));
                synced.map_err(|error| failure(path, Step::SyncDirectory, error))
            }
            Durability::None => Ok(()),
        }
    }
}

/// Returns what a directory is called while another takes its name.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    path.with_file_name(format!(".{name}.before"))
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
    fn what_has_the_name_can_be_replaced() {
        let parent = tempfile::tempdir().unwrap();
        for swaps in [true, false] {
            let there = parent.path().join("step");
            std::fs::create_dir_all(there.join("old")).unwrap();
            let staged = StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
            write_small(&LocalDisk, &staged.path().join("new"), b"1", Durability::None).unwrap();
            if swaps {
                staged.replace("step", Durability::Full).unwrap();
            } else {
                staged.rename_in_turn(staged.path(), &there, Durability::Full).unwrap();
                drop(staged);
            }
            assert!(there.join("new").is_file() && !there.join("old").exists());
            assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "the old one is gone");
        }
        let staged = StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
        assert!(staged.replace("another", Durability::Full).unwrap().is_dir());
        std::fs::write(parent.path().join("file"), "precious").unwrap();
        let staged = StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
        assert!(staged.replace("file", Durability::Full).is_err());
        assert!(parent.path().join("file").is_file());
    }

    #[test]
    fn a_part_takes_its_name_and_the_rest_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        for text in ["old", "new"] {
            let staged = StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
            std::fs::create_dir(staged.path().join("step")).unwrap();
            std::fs::write(staged.path().join("step/a"), text).unwrap();
            let path = staged.replace_by_part("step", Durability::Full).unwrap();
            assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), text);
            assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        }
        let staged = StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
        assert!(staged.replace_by_part("step", Durability::Full).is_err(), "there is no such part");
        assert_eq!(std::fs::read_to_string(parent.path().join("step/a")).unwrap(), "new");
    }

    #[test]
    fn names_below_are_taken_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let stage = || StagedDirectory::create(&LocalDisk, parent.path()).unwrap();
        std::fs::create_dir(parent.path().join("below")).unwrap();
        for _ in 0..2 {
            assert!(stage().replace("below/7", Durability::Full).unwrap().is_dir());
        }
        assert!(stage().remove("below/7").unwrap());
        assert!(!stage().remove("below/7").unwrap());
        assert!(stage().remove("below").unwrap());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
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
