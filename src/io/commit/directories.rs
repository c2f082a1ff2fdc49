//! Directories: made and removed so that they stay so.

use std::io;
use std::path::{Path, PathBuf};

use super::clean::temporary_name;
use super::disk::{Disk, Existing};
use super::failure::{Step, failure};
use super::temporary::directory_of;
use crate::Error;

/// Follows symbolic links to where a directory is, or would be made, with those above it.
///
/// # Errors
///
/// A part of the path is no directory, or can't be looked at.
pub fn resolve_directory(disk: &dyn Disk, path: &Path) -> Result<PathBuf, Error> {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        // What has no parent, as `.`, is there or nowhere.
        let named = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        match (disk.resolve(named), there.parent(), there.file_name()) {
            (Ok(resolved), ..) => {
                return Ok(missing.iter().rev().fold(resolved, |path, name| path.join(name)));
            }
            (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(name);
                there = parent;
            }
            (Err(error), ..) => return Err(failure(path, Step::Resolve, error)),
        }
    }
}

/// Makes a directory and those above it, where they aren't there, such that they stay. `path` is one that
/// [`resolve_directory`] returned.
///
/// # Errors
///
/// A part of the path is something else, or a directory can't be made.
pub fn create_directories(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let failed = |error| failure(path, Step::CreateDirectory, error);
    match disk.stat(path).map_err(failed)? {
        Some(stat) if stat.is_directory => return Ok(()),
        Some(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
        None => {}
    }
    let parent = directory_of(path);
    if parent != path {
        create_directories(disk, parent)?;
    }
    match disk.create_directory(path) {
        // Another process came first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result.map_err(failed)?,
    }
    disk.sync_directory(parent).map_err(failed)
}

/// Makes a directory durable with all that is in it: what others wrote there and never synced. Links aren't followed.
///
/// # Errors
///
/// Something in it can't be read or synced: the error says what.
pub fn sync_tree(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let failed = |error| failure(path, Step::Sync, error);
    for name in disk.list(path).map_err(failed)? {
        let inside = path.join(name);
        let failed = |error| failure(&inside, Step::Sync, error);
        match disk.stat(&inside).map_err(failed)? {
            Some(stat) if stat.is_directory => sync_tree(disk, &inside)?,
            Some(stat) if stat.is_file => disk.sync_file(&inside).map_err(failed)?,
            _ => {}
        }
    }
    disk.sync_directory(path).map_err(failed)
}

/// Removes a directory with all that is in it, such that it stays removed, and is never seen in part: it loses
/// its name first. Returns whether there was one.
///
/// # Errors
///
/// It can't be renamed: it is as it was. Or it can't be deleted: then it has lost its name, and what is left of
/// it is removed as a leftover ([`clean_staged`](super::clean_staged)).
pub fn remove_directory(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    let parent = directory_of(path);
    let doomed = parent.join(temporary_name());
    match disk.rename(path, &doomed, Existing::Keep) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failure(path, Step::Remove, error)),
    }
    disk.sync_directory(parent).map_err(|error| failure(path, Step::Remove, error))?;
    disk.remove_tree(&doomed).map_err(|error| failure(path, Step::Delete, error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::LocalDisk;
    use super::*;

    #[test]
    fn directories_are_made_with_those_above() {
        let place = tempfile::tempdir().unwrap();
        let path = resolve_directory(&LocalDisk, &place.path().join("a/b/c")).unwrap();
        assert!(!path.exists());
        create_directories(&LocalDisk, &path).unwrap();
        create_directories(&LocalDisk, &path).unwrap();
        assert!(place.path().join("a/b/c").is_dir());
        std::fs::write(path.join("file"), "1").unwrap();
        for inside in ["file", "file/inside"] {
            let error = create_directories(&LocalDisk, &path.join(inside)).unwrap_err();
            assert!(error.to_string().contains("no directory"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_also_to_nothing() {
        let place = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(other.path(), place.path().join("link")).unwrap();
        let path = resolve_directory(&LocalDisk, &place.path().join("link/a/b")).unwrap();
        assert_eq!(path, other.path().canonicalize().unwrap().join("a/b"));
        assert_eq!(
            resolve_directory(&LocalDisk, Path::new("")).unwrap(),
            Path::new(".").canonicalize().unwrap()
        );
    }

    #[test]
    fn all_of_a_tree_is_synced_and_what_cannot_be_is_named() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::fs::write(place.path().join("a/b/c"), "1").unwrap();
        sync_tree(&LocalDisk, place.path()).unwrap();
        let error = sync_tree(&LocalDisk, &place.path().join("d")).unwrap_err();
        assert!(error.path().is_some_and(|path| path.ends_with("d")), "{error}");
    }

    #[test]
    fn a_removed_directory_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        std::fs::create_dir_all(path.join("b")).unwrap();
        std::fs::write(path.join("b/c"), "1").unwrap();
        assert!(remove_directory(&LocalDisk, &path).unwrap());
        assert!(!remove_directory(&LocalDisk, &path).unwrap());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
