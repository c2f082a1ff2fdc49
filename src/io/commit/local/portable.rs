//! Writing on systems other than Linux: through the page cache.

use std::fs::File;
use std::io;

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
pub(super) fn allocate(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Leaves the write-back to the system.
#[derive(Debug, Default)]
pub(super) struct WriteBack;

impl WriteBack {
    /// Does nothing.
    pub(super) fn wrote(&self, _file: &File, _offset: u64, _len: usize) -> io::Result<()> {
        Ok(())
    }
}
