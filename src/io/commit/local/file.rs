//! A file of the real disk that is being written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::names;
use super::system::{self, Direct, WriteBack};
use crate::io::commit::disk::{DiskFile, Stat};

/// A file of the real disk, open for writing and locked.
///
/// It is written around the page cache where that is to be had and [`DiskFile::alignment`] was asked for.
/// A file system that refuses it after all gets the same bytes through the page cache, and so does the rest
/// of the file. There, write-back goes along with the writing, so that a sync at the end finds little to do.
///
/// The lock is that of `flock`: it goes with the process, also with one that is killed. A child that was
/// forked meanwhile, and didn't execute another program, shares it.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    /// The same file opened for direct writes: empty until the alignment is asked for, `None` where that
    /// isn't to be had.
    direct: OnceLock<Option<Direct>>,
    /// Set once a direct write was refused.
    direct_refused: AtomicBool,
    write_back: WriteBack,
    /// Set once a sync failed. The kernel reports a lost page once: another try would succeed.
    is_lost: AtomicBool,
}

impl LocalFile {
    /// Creates a file that wasn't there and locks it. Where locks don't work, it does without.
    ///
    /// # Errors
    ///
    /// Those of the operating system; [`io::ErrorKind::AlreadyExists`] also where a cleaner took the file
    /// between its creation and its lock: then another name is to be tried.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        set_mode(&mut options, mode);
        let file = options.open(path)?;
        match lock_new(&file, path) {
            Ok(()) => Ok(Self::new(file)),
            Err(error) => {
                drop(file);
                if error.kind() != io::ErrorKind::AlreadyExists {
                    drop(names::remove(path));
                }
                Err(error)
            }
        }
    }

    fn new(file: File) -> Self {
        Self {
            file,
            direct: OnceLock::new(),
            direct_refused: AtomicBool::new(false),
            write_back: WriteBack::new(),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Returns the file opened for direct writes, if it was and they work.
    fn direct(&self) -> Option<&Direct> {
        self.direct.get()?.as_ref().filter(|_| !self.direct_refused.load(Relaxed))
    }

    /// Writes through the page cache.
    fn write_buffered(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        system::write_all_at(&self.file, bytes, offset)?;
        self.write_back.wrote(&self.file, offset, bytes.len()).inspect_err(|_| self.lose())
    }

    /// Remembers that what was written may not be on the disk.
    fn lose(&self) {
        self.is_lost.store(true, Relaxed);
    }
}

impl DiskFile for LocalFile {
    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 { Ok(()) } else { system::allocate(&self.file, len) }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = self.direct() {
            check_aligned(bytes, offset, direct.alignment())?;
            match direct.write_all_at(bytes, offset) {
                Err(error) if system::means_no_direct(&error) => self.direct_refused.store(true, Relaxed),
                result => return result,
            }
        }
        self.write_buffered(bytes, offset)
    }

    fn alignment(&self) -> Option<usize> {
        self.direct.get_or_init(|| Direct::open(&self.file));
        self.direct().map(Direct::alignment)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn set_permissions(&self, like: &Stat) -> io::Result<()> {
        set_permissions(&self.file, like)
    }

    fn flush(&self) -> io::Result<()> {
        close(self.file.try_clone()?).inspect_err(|_| self.lose())
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_lost.load(Relaxed) {
            return Err(io::Error::other("an earlier attempt to make the file durable failed"));
        }
        self.file.sync_all().inspect_err(|_| self.lose())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        let direct = match self.direct.into_inner().flatten() {
            Some(direct) => close(direct.into_file()),
            None => Ok(()),
        };
        close(self.file).and(direct)
    }
}

/// Returns an error unless the memory, the place and the length are multiples of `alignment`. Written
/// through the page cache instead, such a piece would share pages with what goes around it.
fn check_aligned(bytes: &[u8], offset: u64, alignment: usize) -> io::Result<()> {
    let is_aligned = bytes.as_ptr().addr().is_multiple_of(alignment)
        && bytes.len().is_multiple_of(alignment)
        && offset.is_multiple_of(alignment as u64);
    if is_aligned {
        return Ok(());
    }
    let message = format!("a direct write of {} bytes at {offset} isn't aligned to {alignment}", bytes.len());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Locks a file that was just created at `path`.
fn lock_new(file: &File, path: &Path) -> io::Result<()> {
    match try_lock(file)? {
        Lock::Unknown => Ok(()),
        // A cleaner may have locked it first, or even removed it: to that one it looked abandoned.
        Lock::Ours if names::is_at(file, path)? => Ok(()),
        Lock::Ours | Lock::Others => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// Who holds the lock of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// This process, since just now.
    Ours,
    /// Somebody else.
    Others,
    /// Locks don't work here.
    Unknown,
}

/// Takes the lock of a file if it is free.
pub(super) fn try_lock(file: &File) -> io::Result<Lock> {
    match file.try_lock() {
        Ok(()) => Ok(Lock::Ours),
        Err(TryLockError::WouldBlock) => Ok(Lock::Others),
        Err(TryLockError::Error(error)) if means_no_locks(&error) => Ok(Lock::Unknown),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(unix)]
fn means_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::Unsupported
        || [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(not(unix))]
fn means_no_locks(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

#[cfg(unix)]
fn set_mode(options: &mut OpenOptions, mode: u32) {
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
}

#[cfg(not(unix))]
fn set_mode(_options: &mut OpenOptions, _mode: u32) {}

/// Gives the file away as far as this user may, and then opens it to others, never the other way round.
///
/// A group that isn't the wanted one gets no more than everybody: the bits were meant for others.
#[cfg(unix)]
fn set_permissions(file: &File, like: &Stat) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let mut mode = like.mode & 0o777;
    if let Some((user, group)) = like.owner {
        let may_not = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match fchown(file, Some(user), Some(group)) {
            Err(error) if may_not(&error) => match fchown(file, None, Some(group)) {
                Err(error) if may_not(&error) => {}
                result => result?,
            },
            result => result?,
        }
        if file.metadata()?.gid() != group {
            mode &= !0o070 | ((mode & 0o007) << 3);
        }
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
fn set_permissions(_file: &File, _like: &Stat) -> io::Result<()> {
    Ok(())
}

/// Closes a file with the error looked at, which dropping it wouldn't do.
#[cfg(unix)]
fn close(file: File) -> io::Result<()> {
    match nix::unistd::close(file) {
        // The descriptor is gone all the same.
        Ok(()) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Closes a file. The standard library doesn't tell whether that failed.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
fn close(file: File) -> io::Result<()> {
    drop(file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that begins at a multiple of 4096, twice as long as asked.
    fn aligned(memory: &mut Vec<u8>, len: usize, alignment: usize) -> &mut [u8] {
        *memory = (0..len + alignment).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        let start = memory.as_ptr().align_offset(alignment);
        &mut memory[start..start + len]
    }

    #[test]
    fn what_is_written_is_there() {
        for directory in [tempfile::tempdir(), tempfile::tempdir_in("/dev/shm")].into_iter().flatten() {
            for asks in [false, true] {
                let path = directory.path().join(format!("file {asks}"));
                let file = Box::new(LocalFile::create(&path, 0o600).unwrap());
                let alignment = if asks { file.alignment() } else { None };
                println!("{}: {alignment:?}", path.display());
                let alignment = alignment.unwrap_or(4096);
                let mut memory = Vec::new();
                let bytes = aligned(&mut memory, alignment * 5, alignment);
                file.allocate(alignment as u64 * 9).unwrap();
                let (first, last) = bytes.split_at(alignment * 2);
                file.write_all_at(last, alignment as u64 * 2).unwrap();
                file.write_all_at(first, 0).unwrap();
                file.set_len(alignment as u64 * 5 - 7).unwrap();
                file.flush().unwrap();
                file.sync().unwrap();
                file.close().unwrap();
                assert!(std::fs::read(&path).unwrap() == bytes[..bytes.len() - 7]);
            }
        }
    }

    #[test]
    fn what_is_not_aligned_is_the_callers_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = LocalFile::create(&path, 0o600).unwrap();
        let Some(alignment) = file.alignment() else {
            println!("skipped: no direct writes in {}", directory.path().display());
            return;
        };
        assert!(alignment >= 4096);
        let mut memory = Vec::new();
        let bytes = aligned(&mut memory, alignment * 2, alignment);
        let refused = |bytes: &[u8], offset| {
            assert_eq!(file.write_all_at(bytes, offset).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        };
        refused(&bytes[..alignment], 512);
        refused(&bytes[..alignment + 512], 0);
        refused(&bytes[512..alignment + 512], 0);
        assert_eq!(file.alignment(), Some(alignment));
        file.write_all_at(bytes, alignment as u64).unwrap();
        assert_eq!(file.file.metadata().unwrap().len(), alignment as u64 * 3);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_only_pretended_gets_the_bytes_through_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = LocalFile::create(&path, 0o600).unwrap();
        let Some(direct) = Direct::open(&file.file) else {
            println!("skipped: no direct writes in {}", directory.path().display());
            return;
        };
        file.direct.set(Some(direct.pretending(1))).unwrap();
        assert_eq!(file.alignment(), Some(1));
        file.write_all_at(b"checkpoint", 0).unwrap();
        assert_eq!(file.alignment(), None);
        file.write_all_at(b"CHECK", 0).unwrap();
        Box::new(file).close().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"CHECKpoint");
    }

    #[test]
    fn a_failed_sync_is_not_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = LocalFile::create(&directory.path().join("file"), 0o600).unwrap();
        file.sync().unwrap();
        file.lose();
        assert!(file.sync().is_err());
        assert!(file.sync().is_err());
    }

    #[test]
    fn the_lock_is_held_until_the_file_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = Box::new(LocalFile::create(&path, 0o600).unwrap());
        let other = File::options().write(true).open(&path).unwrap();
        if try_lock(&other).unwrap() == Lock::Unknown {
            println!("skipped: locks don't work in {}", directory.path().display());
            return;
        }
        // Closing one of its descriptors doesn't free it.
        file.flush().unwrap();
        file.sync().unwrap();
        assert_eq!(try_lock(&other).unwrap(), Lock::Others);
        file.close().unwrap();
        assert_eq!(try_lock(&other).unwrap(), Lock::Ours);
    }

    #[test]
    fn a_file_that_a_cleaner_took_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::create_new(&path).unwrap();
        let cleaner = File::options().write(true).open(&path).unwrap();
        if try_lock(&cleaner).unwrap() == Lock::Unknown {
            println!("skipped: locks don't work in {}", directory.path().display());
            return;
        }
        assert_eq!(lock_new(&file, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&path).unwrap();
        drop(cleaner);
        assert_eq!(lock_new(&file, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::write(&path, "another").unwrap();
        assert_eq!(lock_new(&file, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
