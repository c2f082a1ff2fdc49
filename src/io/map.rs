//! A file as memory: read where and when it is looked at.
//!
//! A mapping costs nothing to make and shares its pages with everybody who reads the file. Its price: where
//! the file is **cut** while it is mapped, looking at what is gone ends the process with `SIGBUS`; and where
//! it is **written to** in place, the memory changes. A file that is *replaced* (renamed over, or removed)
//! stays as it was for those who have it mapped; this is how ckpt saves. So what a training job may write in
//! place isn't to be mapped.

use std::io;
use std::ops::Range;

use memmap2::{Mmap, MmapOptions};

use super::{FileSource, ReadAt, system};

/// A file, mapped for reading.
#[derive(Debug)]
pub struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// Maps a file, whatever file system it is on.
    ///
    /// # Errors
    ///
    /// The file can't be mapped, or it is longer than there are addresses.
    pub fn new(source: &FileSource) -> io::Result<Self> {
        let len = usize::try_from(source.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self { map: map(source, len)? })
    }

    /// Returns whether the file is on a file system where a mapping is fast and safe: a local one, whose
    /// pages come at the device's speed and don't go away with a connection.
    pub fn is_fast_and_safe(source: &FileSource) -> bool {
        system::is_local(source.file())
    }

    /// Returns the bytes of a range; `None` where it isn't within the file.
    pub fn get(&self, range: &Range<u64>) -> Option<&[u8]> {
        self.map.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    /// Tells the kernel that a range is about to be read, so that it reads ahead. Costs nothing where it can't.
    pub fn will_need(&self, range: &Range<u64>) {
        let places = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        if let Some((start, end)) = places.filter(|(start, end)| start < end && *end <= self.map.len()) {
            advise(&self.map, start, end - start);
        }
    }
}

#[cfg(unix)]
fn advise(map: &Mmap, start: usize, len: usize) {
    map.advise_range(memmap2::Advice::WillNeed, start, len).unwrap_or_default();
}

#[cfg(not(unix))]
fn advise(_map: &Mmap, _start: usize, _len: usize) {}

#[expect(unsafe_code, reason = "a mapping changes when its file does, which no type can forbid")]
fn map(source: &FileSource, len: usize) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and its bytes are handed out as plain `u8`, of which
    // every value is valid. That nobody changes or cuts the file in place is the caller's to know, as the
    // module says: `Access::Auto` maps on local file systems only, and `Access::Eager` never does.
    unsafe { MmapOptions::new().offset(source.base()).len(len).map_copy_read_only(source.file()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"checkpoint").unwrap();
        let mapping = Mapping::new(&FileSource::open(&path).unwrap()).unwrap();
        mapping.will_need(&(0..10));
        mapping.will_need(&(7..99));
        assert_eq!(mapping.get(&(5..10)), Some(&b"point"[..]));
        assert_eq!(mapping.get(&(5..11)), None);
        assert_eq!(mapping.get(&(u64::MAX - 1..u64::MAX)), None);
    }

    #[test]
    fn a_replaced_file_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"checkpoint").unwrap();
        let mapping = Mapping::new(&FileSource::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"x").unwrap();
        assert_eq!(mapping.get(&(0..10)), Some(&b"checkpoint"[..]));
    }
}
