use std::io;
use std::ops::Range;

use super::{ReadAt, ScanOptions, ScanSource};
use crate::digest::{Algorithm, Crc32, Digest};

/// A part of a source, as a source of its own: offsets count from its start, and nothing beyond its end can be
/// read. A file that is several archives one behind another is read through one for each.
pub(crate) struct Section<'a> {
    source: &'a dyn ScanSource,
    start: u64,
    len: u64,
}

impl<'a> Section<'a> {
    /// Takes a range of a source. One that isn't wholly there is cut: what is missing reads as past the end.
    pub(crate) fn new(source: &'a dyn ScanSource, range: &Range<u64>) -> Self {
        let end = range.end.min(source.len());
        let start = range.start.min(end);
        Self { source, start, len: end - start }
    }

    /// Returns where ranges of the section lie in the source.
    fn places(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Range<u64>>> {
        let place = |range: &Range<u64>| {
            let is_inside = range.start.max(range.end) <= self.len;
            is_inside.then(|| self.start + range.start..self.start + range.end)
        };
        let places: Option<Vec<_>> = ranges.iter().map(place).collect();
        places.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl ReadAt for Section<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.len => self.source.read_exact_at(buffer, self.start + offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ScanSource for Section<'_> {
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

    fn section(range: Range<u64>) -> (Vec<u8>, Range<u64>) {
        (BYTES.to_vec(), range)
    }

    #[test]
    fn a_section_reads_like_the_bytes_alone() {
        let (bytes, range) = section(2..12);
        let section = Section::new(&bytes, &range);
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
        let (bytes, range) = section(2..12);
        let section = Section::new(&bytes, &range);
        assert!(section.read_exact_at(&mut [0; 2], 9).is_err());
        assert!(section.read_exact_at(&mut [0; 1], u64::MAX).is_err());
        assert!(section.checksum(&[5..11], &ScanOptions::default()).is_err());
        assert!(section.digests(&[11..12], Algorithm::Blake3, &ScanOptions::default()).is_err());
    }

    #[test]
    fn a_section_past_the_end_is_cut() {
        for (range, len) in [(30..40, 2), (99..100, 0), (5..u64::MAX, 27)] {
            let (bytes, range) = section(range);
            assert_eq!(Section::new(&bytes, &range).len(), len);
        }
    }
}
