//! Small files, written and removed with the same care as large ones.

use std::io;
use std::path::Path;

use super::disk::{Disk, Existing};
use super::failure::{Step, failure};
use super::temporary::{Durability, Temporary, directory_of};
use crate::Error;

/// Writes a small file, such as a marker: all of it comes to its name, or the old one stays.
///
/// # Errors
///
/// Those of [`Temporary::create`] and [`Temporary::commit`].
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("latest.json");
/// use ckpt::io::commit::{Durability, LocalDisk, write_small};
///
/// write_small(&LocalDisk, &path, b"{\"step\": 1000}", Durability::Full)?;
/// assert_eq!(std::fs::read(&path)?, b"{\"step\": 1000}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_small(disk: &dyn Disk, path: &Path, bytes: &[u8], durability: Durability) -> Result<(), Error> {
    let temporary = Temporary::create(disk, path)?;
    temporary.file().write_all_at(bytes, 0).map_err(|error| temporary.failed_to_write(error))?;
    temporary.commit(Existing::Replace, durability)
}

/// Removes a file, such that it stays removed. Returns whether there was one.
///
/// A symbolic link is followed, as [`write_small`] does: what it leads to is removed.
///
/// # Errors
///
/// The file can't be removed, or it can't be made sure that it won't be back after a power failure.
pub fn remove_durably(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    let path = disk.resolve(path).map_err(|error| failure(path, Step::Remove, error))?;
    match disk.remove(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failure(&path, Step::Remove, error)),
    }
    disk.sync_directory(directory_of(&path)).map_err(|error| failure(&path, Step::Remove, error))?;
    Ok(true)
}
