//! A part of a source, seen as a source of its own: one checkpoint among several that lie in a file one behind the
//! other.

use std::io;
use std::ops::Range;

use super::fill::{FillSpan, Window};
use super::scan::{ReadSpan, check_bounds};
use super::{ReadAt, ScanOptions, ScanSource};
use crate::digest::{Algorithm, Crc32, Digest};

/// A range of a source.
///
/// ```
/// use ckpt::io::{ReadAt, Section};
///
/// let section = Section::new(&b"a checkpoint"[..], 2..7)?;
/// let mut bytes = [0; 5];
/// section.read_exact_at(&mut bytes, 0)?;
/// assert_eq!((&bytes, section.len()), (b"check", 5));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Section<'s, S: ?Sized> {
    source: &'s S,
    range: Range<u64>,
}

impl<'s, S: ReadAt + ?Sized> Section<'s, S> {
    /// Takes a range of a source.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if it ends past the source's end, or before its own beginning.
    pub fn new(source: &'s S, range: Range<u64>) -> io::Result<Self> {
        check_section(&range, source.len())?;
        Ok(Self { source, range })
    }

    /// Returns ranges of the section as ranges of the source.
    fn shifted(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Range<u64>>> {
        check_bounds(ranges, self.len())?;
        let start = self.range.start;
        Ok(ranges.iter().map(|range| range.start + start..range.end + start).collect())
    }
}

impl<S: ReadAt + ?Sized> ReadAt for Section<'_, S> {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.len() => self.source.read_exact_at(buffer, self.range.start + offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<S: ScanSource + ?Sized> ScanSource for Section<'_, S> {
    fn checksum(&self, ranges: &[Range<u64>], options: &ScanOptions<'_>) -> io::Result<Vec<Crc32>> {
        self.source.checksum(&self.shifted(ranges)?, options)
    }

    fn digests(
        &self,
        blocks: &[Range<u64>],
        algorithm: Algorithm,
        options: &ScanOptions<'_>,
    ) -> io::Result<Vec<Digest>> {
        self.source.digests(&self.shifted(blocks)?, algorithm, options)
    }
}

/// Returns an error unless a range lies within a source of `len` bytes.
pub(super) fn check_section(range: &Range<u64>, len: u64) -> io::Result<()> {
    if range.start > range.end {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    check_bounds(std::slice::from_ref(range), len)
}

/// What reads a file, from a place of it on.
#[derive(Debug)]
pub(super) struct Shifted<'r, R> {
    pub(super) reader: &'r R,
    /// The place of the file that counts as 0.
    pub(super) base: u64,
}

impl<R> Shifted<'_, R> {
    fn shifted(&self, span: &Range<u64>) -> Range<u64> {
        span.start + self.base..span.end + self.base
    }
}

impl<R: ReadSpan> ReadSpan for Shifted<'_, R> {
    fn read_span(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let base = self.base;
        self.reader.read_span(self.shifted(&span), buffer, &mut |at, bytes| feed(at - base, bytes))
    }
}

impl<R: FillSpan> FillSpan for Shifted<'_, R> {
    fn fill_span(
        &self,
        span: Range<u64>,
        window: &mut Window<'_>,
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let base = self.base;
        let mut window = window.shifted(base);
        self.reader.fill_span(self.shifted(&span), &mut window, &mut |at, bytes| feed(at - base, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"a checkpoint behind a checkpoint";

    #[test]
    fn a_section_reads_like_the_bytes_alone() {
        let section = Section::new(BYTES, 2..12).unwrap();
        let mut read = [0; 10];
        section.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"checkpoint");
        let (options, alone) = (ScanOptions::default(), b"checkpoint".to_vec());
        let blocks = [0..10, 3..5, 7..7];
        assert_eq!(section.checksum(&blocks, &options).unwrap(), alone.checksum(&blocks, &options).unwrap());
        for algorithm in Algorithm::ALL {
            let digests = section.digests(&blocks, algorithm, &options).unwrap();
            assert_eq!(digests, alone.digests(&blocks, algorithm, &options).unwrap());
        }
    }

    #[test]
    fn nothing_beyond_a_section_can_be_read() {
        let section = Section::new(BYTES, 2..12).unwrap();
        assert!(section.read_exact_at(&mut [0; 2], 9).is_err());
        assert!(section.read_exact_at(&mut [0; 1], u64::MAX).is_err());
        assert!(section.checksum(&[5..11], &ScanOptions::default()).is_err());
        assert!(section.digests(&[11..12], Algorithm::Blake3, &ScanOptions::default()).is_err());
    }

    #[test]
    fn a_section_lies_within_its_source() {
        let len = BYTES.len() as u64;
        assert!(Section::new(BYTES, len..len).is_ok_and(|section| section.is_empty()));
        for range in [30..40, 99..100, 5..u64::MAX, Range { start: 3, end: 2 }] {
            assert!(Section::new(BYTES, range).is_err());
        }
    }
}
