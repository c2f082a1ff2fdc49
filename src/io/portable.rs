//! Reading a file on systems other than Linux: through the page cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::Path;

use super::fill::{FillSpan, Window};
use super::scan::ReadSpan;

/// How much is read at once into its place, in bytes: what stays in a core's cache until it is checksummed.
const CHUNK_BYTES: u64 = 1 << 20;

/// Opens a file read-only, such that it can't hang on what isn't a regular file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    options.read(true).open(path)
}

/// Fills `buffer` from `offset` on.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from `offset` on.
#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = buffer.split_at_mut(count).1;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns whether a mapping is known to be fast and safe: never, where the file system can't be told.
pub(super) fn is_local(_file: &File) -> bool {
    false
}

/// An open file.
#[derive(Debug)]
pub(super) struct FileReader {
    file: File,
}

impl FileReader {
    /// Takes an open file.
    pub(super) fn new(file: File) -> Self {
        Self { file }
    }

    /// Takes an open file. The cache can't be passed by.
    pub(super) fn fresh(file: File) -> Self {
        Self::new(file)
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns whether a byte is known to be in memory: here, nobody says so.
    pub(super) fn seems_cached(&self, _at: u64) -> bool {
        false
    }
}

impl ReadSpan for FileReader {
    fn read_span(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let mut at = span.start;
        while at < span.end {
            let len = usize::try_from(span.end - at).unwrap_or(usize::MAX);
            let chunk = buffer.split_at_mut(len.min(buffer.len())).0;
            read_exact_at(&self.file, chunk, at)?;
            feed(at, chunk);
            at += chunk.len() as u64;
        }
        Ok(())
    }
}

impl FillSpan for FileReader {
    fn fill_span(
        &self,
        span: Range<u64>,
        window: &mut Window<'_>,
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let mut start = span.start;
        while start < span.end {
            let chunk = window.part(start..span.end.min(start + CHUNK_BYTES))?;
            read_exact_at(&self.file, chunk, start)?;
            feed(start, chunk);
            start += chunk.len() as u64;
        }
        Ok(())
    }
}
