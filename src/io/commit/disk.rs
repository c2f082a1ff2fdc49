//! The seam: every call by which a save changes a disk, or depends on what is there.
//!
//! The real disk is [`LocalDisk`](super::LocalDisk). Tests put another behind it, which fails the Nth
//! call, or loses what was never synced when the power goes.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use crate::io::ScanSource;

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The length in bytes.
    pub len: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The permission bits; 0 where the system has none.
    pub mode: u32,
    /// The numbers of the owner and the group; `None` where the system has none.
    pub owner: Option<(u32, u32)>,
}

/// What becomes of a file that has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The renamed file takes its place, in one step.
    Replace,
    /// It stays, and the renaming fails with [`io::ErrorKind::AlreadyExists`].
    Keep,
    /// The two change places, in one step: both are there, before and after. It fails with
    /// [`io::ErrorKind::Unsupported`] where the file system can't do that.
    Swap,
}

/// The calls by which files come, go and are made durable.
///
/// The contract is with [`commit`](super): a path is one that [`Disk::resolve`] returned, or a neighbour of
/// one; errors are those of the operating system, unchanged.
pub trait Disk: Send + Sync + Debug {
    /// Follows symbolic links to where a file is, or would be made. Its directory must be there.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    /// Looks at a file; `None` where there is nothing. A symbolic link isn't followed.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;

    /// Creates a file that wasn't there, open for writing and locked until it is closed. `mode` is cut by
    /// the process's umask.
    ///
    /// It fails with [`io::ErrorKind::AlreadyExists`] where the name is taken, and also where
    /// [`Disk::remove_abandoned`] came between the creation and the lock: another name is to be tried.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;

    /// Reads a file that is some bytes long; of a longer one no more than `most` bytes.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Opens a file to be read back. What it reads comes from the device, not from a cache, as far as the
    /// system allows that.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ScanSource>>;

    /// Renames a file or a directory, within one file system. Not durable before [`Disk::sync_directory`].
    fn rename(&self, from: &Path, to: &Path, existing: Existing) -> io::Result<()>;

    /// Removes a file. Not durable before [`Disk::sync_directory`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a file durable that somebody else wrote: its bytes and its length.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes durable what names the directory holds.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Lists the names in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Removes a file that [`Disk::create`] made, if the process that made it is gone: its lock is free. Where
    /// locks don't work, or one machine may not see those of another, nothing must have been written to it
    /// for a day either. Returns whether it did.
    fn remove_abandoned(&self, path: &Path) -> io::Result<bool>;

    /// Creates a directory that wasn't there. Not durable before [`Disk::sync_directory`] of its parent.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it; no link is followed. An error may leave a part of it.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory that nobody fills any more, with all that is in it. `is_sure` says that nobody can,
    /// because the caller holds a lock that whoever fills one holds ([`DiskLock::is_sure`]). Otherwise nothing
    /// in it must have been written for a day. Returns whether it did.
    fn remove_abandoned_tree(&self, path: &Path, is_sure: bool) -> io::Result<bool>;

    /// Takes the lock that a file stands for. The file is made where there is none, and it stays; `holder` is
    /// written into it, for those who come second.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Locked>;

    /// Returns how many bytes this user may still write to the directory's file system. Quotas don't count.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// Whether a lock could be had.
#[derive(Debug)]
pub enum Locked {
    /// It is the caller's until this is dropped, or the process ends, however it ends.
    Ours(Box<dyn DiskLock>),
    /// Somebody else has it: what they wrote down of themselves.
    Others(String),
}

/// A lock that is held as long as this lives.
pub trait DiskLock: Send + Sync + Debug {
    /// Returns whether nobody else can hold it meanwhile, on any machine. Where the file system has no locks,
    /// or has them for one machine alone, somebody may.
    fn is_sure(&self) -> bool;

    /// Has the processes that are started from now on hold the lock as well: where this process is killed, it is free
    /// when they have ended too. Dropping it frees it at once even so.
    ///
    /// # Errors
    ///
    /// The system refuses it. Nothing is done where there is no such thing.
    fn hand_down(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is being written, by several threads at once.
pub trait DiskFile: Send + Sync + Debug {
    /// Reserves room for `len` bytes. Where the file system can't, nothing happens.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, around the page cache where [`DiskFile::alignment`] allows it.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns to what offsets, lengths and addresses of writes should be aligned, in bytes, so that they
    /// go straight to the device; `None` where all writes go through the page cache.
    ///
    /// Who never asks writes through the page cache. Once it was asked and answered, a write that isn't
    /// aligned fails with [`io::ErrorKind::InvalidInput`]: one that ends the file is padded, and
    /// [`DiskFile::set_len`] cuts the padding. It may become `None` when the first write shows that the file
    /// system only pretended; that write, and what is written after it, goes through the page cache.
    fn alignment(&self) -> Option<usize>;

    /// Sets the length: cuts what was written beyond it.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives the file the permission bits and the owner of another. An owner that this user may not give
    /// away to is left.
    fn set_permissions(&self, like: &Stat) -> io::Result<()>;

    /// Hands what was written to the file system, and returns the errors that network file systems otherwise
    /// keep until a file is closed. The file stays open and locked.
    ///
    /// Nothing to do for a disk that has none of those.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Makes the file's bytes, its length and its permissions durable. After a failure it fails ever after:
    /// what is lost then isn't written again.
    fn sync(&self) -> io::Result<()>;

    /// Closes the file and frees its lock. Network file systems report late errors here.
    fn close(self: Box<Self>) -> io::Result<()>;
}
