//! Writing on systems other than Linux: through the page cache.

use std::fs::File;
use std::io;
use std::path::Path;

/// A file opened for writing around the page cache: not to be had.
#[derive(Debug)]
pub(super) enum Direct {}

impl Direct {
    /// Returns `None`.
    pub(super) fn open(_file: &File) -> Option<Self> {
        None
    }

    /// Can't be called: there is no such file.
    pub(super) fn alignment(&self) -> usize {
        match *self {}
    }

    /// Can't be called: there is no such file.
    pub(super) fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        match *self {}
    }

    /// Can't be called: there is no such file.
    pub(super) fn into_file(self) -> File {
        match self {}
    }
}

/// Returns `false`: there are no direct writes to be refused.
pub(super) fn means_no_direct(_error: &io::Error) -> bool {
    false
}

/// Writes all of `bytes` at `offset`, however often it is interrupted or cut short.
#[cfg(unix)]
pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all of `bytes` at `offset`, however often it is interrupted or cut short.
#[cfg(windows)]
pub(super) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.split_at(count).1;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reserves nothing: the file grows as it is written.
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(super) fn allocate(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Returns `false`: what is mounted isn't told apart here, so age decides.
pub(super) fn has_sure_locks(_file: &File) -> bool {
    false
}

/// Returns `None`: there is no such call that all these systems have.
pub(super) fn rename_and_keep(_from: &Path, _to: &Path) -> Option<io::Result<()>> {
    None
}

/// Has two files or directories change places: here the system has no call for it.
pub(super) fn swap(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns how many bytes this user may still write to the file system.
#[cfg(unix)]
pub(super) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(directory)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Returns a number that nothing exceeds: it isn't known here.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
pub(super) fn free_bytes(_directory: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Leaves the write-back to the system.
#[derive(Debug)]
pub(super) struct WriteBack;

impl WriteBack {
    /// Of a file that nothing was written to.
    pub(super) fn new() -> Self {
        Self
    }

    /// Does nothing.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "there is work to do, and to fail, on Linux"
    )]
    pub(super) fn wrote(&self, _file: &File, _offset: u64, _len: usize) -> io::Result<()> {
        Ok(())
    }
}
