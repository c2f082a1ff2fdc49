//! The real disk.

mod file;
mod leftover;
mod lock;
mod names;
mod renaming;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod system;

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

pub use file::LocalFile;

use super::disk::{Disk, DiskFile, Existing, Locked, Stat};
use crate::io::{FileSource, ReadAt, ScanSource};

/// The disk of this computer, or what is mounted there.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("model.safetensors.done");
/// use ckpt::io::commit::{Disk, Durability, LocalDisk, write_small};
///
/// write_small(&LocalDisk, &path, b"{}", Durability::Full)?;
/// assert_eq!(LocalDisk.read(&path, 100)?, b"{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        names::resolve(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(stat_of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LocalFile::create(path, mode)?))
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let file = FileSource::open(path)?;
        let len = usize::try_from(file.len().min(most)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ScanSource>> {
        Ok(Box::new(FileSource::open_fresh(path)?))
    }

    fn rename(&self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
        renaming::rename(from, to, existing)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        names::remove(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // Other systems sync only what is open for writing.
        if cfg!(unix) { File::open(path) } else { File::options().write(true).open(path) }?.sync_all()
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        // Other systems don't open directories.
        if cfg!(not(unix)) {
            return Ok(());
        }
        match File::open(directory)?.sync_all() {
            // Some file systems have nothing to sync there, and say so.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<bool> {
        leftover::remove_abandoned(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        names::remove_tree(path)
    }

    fn remove_abandoned_tree(&self, path: &Path, is_sure: bool) -> io::Result<bool> {
        leftover::remove_abandoned_tree(path, is_sure)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Locked> {
        lock::take(path, holder)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        system::free_bytes(directory)
    }
}

#[cfg(unix)]
fn stat_of(metadata: &Metadata) -> Stat {
    use std::os::unix::fs::MetadataExt;
    Stat {
        len: metadata.len(),
        is_file: metadata.is_file(),
        is_directory: metadata.is_dir(),
        mode: metadata.mode() & 0o7777,
        owner: Some((metadata.uid(), metadata.gid())),
    }
}

#[cfg(not(unix))]
fn stat_of(metadata: &Metadata) -> Stat {
    let (is_file, is_directory) = (metadata.is_file(), metadata.is_dir());
    Stat { len: metadata.len(), is_file, is_directory, mode: 0, owner: None }
}

#[cfg(test)]
mod tests;
