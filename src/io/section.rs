use std::io;
use std::ops::Range;

use super::{ReadAt, ScanOptions, ScanSource};
use crate::digest::{Algorithm, Crc32, Digest};

/// A part of a source, as a source of its own: offsets count from its start, and nothing beyond its end can be
/// read. A file that is several archives one behind another is read through one for each.
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
    /// [`io::ErrorKind::UnexpectedEof`] if it isn't wholly there.
    pub fn new(source: &'s S, range: Range<u64>) -> io::Result<Self> {
        if range.start > range.end || range.end > source.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { source, range })
    }

    /// Returns where ranges of the section lie in the source.
    fn places(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Range<u64>>> {
        let start = self.range.start;
        let place = |range: &Range<u64>| {
            let is_inside = range.start.max(range.end) <= self.len();
            is_inside.then(|| start + range.start..start + range.end)
        };
        let places: Option<Vec<_>> = ranges.iter().map(place).collect();
        places.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
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
        self.source.checksum(&self.places(ranges)?, options)
    }

    fn digests(
        &self,
        blocks: &[Range<u64>],
        algorithm: Algorithm,
        options: &ScanOptions<'_>,
    ) -> io::Result<Vec<Digest>> {
        self.source.digests(&self.places(blocks)?, algorithm, options)
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
