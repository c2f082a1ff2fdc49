//! A file on its way to its name.

use std::io;
use std::path::{Path, PathBuf};

use super::clean::temporary_name;
use super::disk::{Disk, DiskFile, Existing, Stat};
use super::failure::{Step, failure, no_room};
use crate::Error;

/// How many names are tried. A name is taken only where a cleaner came between the creation of a file and
/// its lock.
const MAX_NAMES: usize = 100;

/// The permissions of a new file, cut by the process's umask.
const NEW_MODE: u32 = 0o666;

/// The permissions of a file while it is written, where it will get those of an existing one.
const PRIVATE_MODE: u32 = 0o600;

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The bytes and the name are on the device: they survive a power failure.
    #[default]
    Full,
    /// The file survives a crash of the process. After one of the machine there may be a file of that name
    /// that is empty or damaged, in place of the old one.
    None,
}

/// A file that is being written beside its destination.
///
/// It is locked until it has its name, so that [`clean`](super::clean()) leaves it alone. Dropping it removes
/// it, and the destination stays as it was.
///
/// An existing file's permission bits and owner are kept, its access control lists and extended attributes
/// aren't; nor are its further hard links, which keep the old bytes.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("notes");
/// use ckpt::io::commit::{Durability, Existing, LocalDisk, Temporary};
///
/// let mut temporary = Temporary::create(&LocalDisk, &path)?;
/// temporary.reserve(5)?;
/// temporary.file().write_all_at(b"hello", 0)?;
/// assert!(!path.exists());
/// temporary.commit(Existing::Replace, Durability::Full)?;
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Temporary<'d> {
    // Dropped first, so that the file is removed while it is still locked.
    name: Name<'d>,
    file: Box<dyn DiskFile>,
    destination: PathBuf,
    existing: Option<Stat>,
    /// How many bytes it will have and how many were free, as far as it is known.
    room: Option<(u64, Option<u64>)>,
    is_synced: bool,
}

impl<'d> Temporary<'d> {
    /// Creates the temporary file for a destination, through which symbolic links are followed.
    ///
    /// # Errors
    ///
    /// The directory isn't there or can't be written to, or what has the destination's name is no regular
    /// file.
    pub fn create(disk: &'d dyn Disk, destination: &Path) -> Result<Self, Error> {
        let failed = |error| failure(destination, Step::Resolve, error);
        let resolved = disk.resolve(destination).map_err(failed)?;
        let existing = disk.stat(&resolved).map_err(failed)?;
        Self::create_for(disk, destination, resolved, existing)
    }

    /// As [`create`](Self::create), but a symbolic link that has the destination's name is what will be replaced, in one
    /// step: what it leads to, if anything, stays as it is.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_at(disk: &'d dyn Disk, destination: &Path) -> Result<Self, Error> {
        let failed = |error| failure(destination, Step::Resolve, error);
        let Some(name) = destination.file_name() else { return Self::create(disk, destination) };
        let above = destination.parent().filter(|above| !above.as_os_str().is_empty());
        let place = disk.resolve(above.unwrap_or(Path::new("."))).map_err(failed)?.join(name);
        // A link leads elsewhere, or nowhere; a link to itself leads into an error.
        if disk.resolve(destination).is_ok_and(|resolved| resolved == place) {
            return Self::create(disk, destination);
        }
        Self::create_for(disk, destination, place, None)
    }

    /// Creates it beside `resolved`, at which `existing` is.
    fn create_for(
        disk: &'d dyn Disk,
        destination: &Path,
        resolved: PathBuf,
        existing: Option<Stat>,
    ) -> Result<Self, Error> {
        if existing.is_some_and(|stat| !stat.is_file) {
            let message = "a directory or a special file is there, and can't be replaced: name a file";
            return Err(Error::usage(message).at(destination));
        }
        let mode = if existing.is_some() { PRIVATE_MODE } else { NEW_MODE };
        let created = create_beside(disk, &resolved, mode);
        let (path, file) = created.map_err(|error| failure(destination, Step::Create, error))?;
        let name = Name { disk, path, is_final: false };
        Ok(Self { name, file, destination: resolved, existing, room: None, is_synced: false })
    }

    /// Returns the file, to be written to until [`Temporary::sync`].
    pub fn file(&self) -> &dyn DiskFile {
        self.file.as_ref()
    }

    /// Returns the path of the temporary file.
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    /// Returns the path that the file will have, without symbolic links.
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// Returns what was known of the file at the destination when this one was created; `None` where there
    /// was none.
    pub fn existing(&self) -> Option<Stat> {
        self.existing
    }

    /// Reserves room for `len` bytes, so that a full disk is noticed before the first one is written.
    ///
    /// # Errors
    ///
    /// There isn't enough room: the error names how many bytes are needed and how many are free.
    pub fn reserve(&mut self, len: u64) -> Result<(), Error> {
        let free = self.name.disk.free_bytes(directory_of(&self.destination)).ok();
        self.room = Some((len, free));
        if free.is_some_and(|free| free < len) {
            return Err(self.failed(Step::Reserve, io::ErrorKind::StorageFull.into()));
        }
        self.file.allocate(len).map_err(|error| self.failed(Step::Reserve, error))
    }

    /// Makes an error of one that writing to [`Temporary::file`] returned: it names the destination, and on
    /// a full disk how many bytes are needed.
    pub fn failed_to_write(&self, error: io::Error) -> Error {
        self.failed(Step::Write, error)
    }

    /// Gives the file its final permissions and makes it durable, so that it can be read back from the
    /// device under its temporary name. Nothing is to be written to it any more.
    ///
    /// # Errors
    ///
    /// The bytes may not be on the disk. They aren't written again: the file is to be dropped.
    pub fn sync(&mut self) -> Result<(), Error> {
        if !self.is_synced {
            self.finish()?;
            self.file.sync().map_err(|error| self.failed(Step::Sync, error))?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// The lock is held until the file has its name, so that no cleaner can come in between; what closing
    /// the file could report is asked for before, with [`DiskFile::flush`].
    ///
    /// # Errors
    ///
    /// The old file is as it was, except after two errors that say so: the directory could not be synced, or
    /// the file not be closed. Then the new file has its name.
    pub fn commit(mut self, existing: Existing, durability: Durability) -> Result<(), Error> {
        match durability {
            Durability::Full => self.sync()?,
            Durability::None if self.is_synced => {}
            Durability::None => self.finish()?,
        }
        let Self { mut name, file, destination, .. } = self;
        let disk = name.disk;
        let renamed = disk.rename(&name.path, &destination, existing);
        renamed.map_err(|error| failure(&destination, Step::Rename, error))?;
        name.is_final = true;
        let synced = match durability {
            Durability::Full => disk.sync_directory(directory_of(&destination)),
            Durability::None => Ok(()),
        };
        let closed = file.close();
        synced.map_err(|error| failure(&destination, Step::SyncDirectory, error))?;
        closed.map_err(|error| failure(&destination, Step::Close, error))
    }

    /// Sets the permissions and hands the bytes over.
    fn finish(&self) -> Result<(), Error> {
        self.keep_permissions()
            .and_then(|()| self.file.flush())
            .map_err(|error| self.failed(Step::Sync, error))
    }

    /// Gives the file the permissions of the one that it replaces, unless it has them: some file systems
    /// have the same for all files, and refuse to change them.
    fn keep_permissions(&self) -> io::Result<()> {
        let Some(existing) = self.existing else { return Ok(()) };
        match self.name.disk.stat(&self.name.path)? {
            Some(now) if (now.mode, now.owner) == (existing.mode, existing.owner) => Ok(()),
            _ => self.file.set_permissions(&existing),
        }
    }

    fn failed(&self, step: Step, error: io::Error) -> Error {
        match self.room {
            Some((needed, free)) if error.kind() == io::ErrorKind::StorageFull => {
                no_room(&self.destination, step, needed, free, error)
            }
            _ => failure(&self.destination, step, error),
        }
    }
}

/// The temporary name of a file. Dropping it removes the file.
#[derive(Debug)]
struct Name<'d> {
    disk: &'d dyn Disk,
    path: PathBuf,
    /// Whether the file has its final name, and this one is nobody's.
    is_final: bool,
}

impl Drop for Name<'_> {
    fn drop(&mut self) {
        if !self.is_final {
            // What can't be removed now is removed by a later save.
            drop(self.disk.remove(&self.path));
        }
    }
}

/// Creates a file of a new name beside `destination`.
fn create_beside(disk: &dyn Disk, destination: &Path, mode: u32) -> io::Result<(PathBuf, Box<dyn DiskFile>)> {
    let directory = directory_of(destination);
    for _ in 1..MAX_NAMES {
        let path = directory.join(temporary_name());
        match disk.create(&path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return Ok((path, result?)),
        }
    }
    let path = directory.join(temporary_name());
    let file = disk.create(&path, mode)?;
    Ok((path, file))
}

/// Returns the directory of a path that [`Disk::resolve`] returned.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests;
