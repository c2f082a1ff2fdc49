//! A real disk that has no room now and then.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ckpt::io::ScanSource;
use ckpt::io::commit::{Disk, DiskFile, Existing, LocalDisk, Locked, Stat};

/// A disk that is full for so many times as somebody asks.
#[derive(Debug)]
pub(super) struct FullDisk {
    times: AtomicU32,
}

impl FullDisk {
    pub(super) fn new(times: u32) -> Self {
        Self { times: AtomicU32::new(times) }
    }

    /// Returns for how many times it will be full.
    pub(super) fn left(&self) -> u32 {
        self.times.load(Ordering::SeqCst)
    }
}

impl Disk for FullDisk {
    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let left = self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1));
        if left.is_ok() { Ok(17) } else { LocalDisk.free_bytes(directory) }
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        LocalDisk.resolve(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        LocalDisk.stat(path)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.create(path, mode)
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        LocalDisk.read(path, most)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ScanSource>> {
        LocalDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
        LocalDisk.rename(from, to, existing)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        LocalDisk.sync_directory(directory)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        LocalDisk.list(directory)
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<bool> {
        LocalDisk.remove_abandoned(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_directory(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove_tree(path)
    }

    fn remove_abandoned_tree(&self, path: &Path, is_sure: bool) -> io::Result<bool> {
        LocalDisk.remove_abandoned_tree(path, is_sure)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Locked> {
        LocalDisk.lock(path, holder)
    }
}
