//! Small reads that lie close to one another.

use std::io;
use std::ops::Range;

use crate::format::read_vec;
use crate::io::ReadAt;

/// How much is read at once, in bytes: the descriptor behind one entry and the header of the next, as PyTorch pads
/// it. An archive of 5,000 small records is then read by as many calls, and not by three times as many.
const NEAR_BYTES: u64 = 512;

/// A source whose last small read is remembered, with what lies behind it.
pub(super) struct Near<'s> {
    source: &'s dyn ReadAt,
    /// Where the bytes that are remembered begin.
    start: u64,
    bytes: Vec<u8>,
}

impl<'s> Near<'s> {
    pub(super) fn new(source: &'s dyn ReadAt) -> Self {
        Self { source, start: 0, bytes: Vec::new() }
    }

    /// Reads a range, as [`read_vec`] does.
    pub(super) fn read(&mut self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.remembered(&range) {
            return Ok(bytes.to_vec());
        }
        let most = range.start.saturating_add(NEAR_BYTES).min(self.source.len());
        if range.end < range.start || range.end > most {
            return read_vec(self.source, range);
        }
        self.bytes = read_vec(self.source, range.start..most)?;
        self.start = range.start;
        Ok(self.remembered(&range).unwrap_or_default().to_vec())
    }

    fn remembered(&self, range: &Range<u64>) -> Option<&[u8]> {
        let place = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok();
        self.bytes.get(place(range.start)?..place(range.end)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_is_there() {
        let source: Vec<u8> = (0..2000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut near = Near::new(&source);
        for range in
            [0..30, 10..400, 400..600, 590..620, 580..590, 0..2000, 1990..2000, 1999..2000, 2000..2000, 5..5]
        {
            assert_eq!(
                near.read(range.clone()).unwrap(),
                read_vec(&source, range.clone()).unwrap(),
                "{range:?}"
            );
        }
        for range in [1990..2001, 2001..2002, u64::MAX - 1..u64::MAX] {
            assert_eq!(
                near.read(range.clone()).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof,
                "{range:?}"
            );
        }
        let backwards = Range { start: 30, end: 20 };
        assert_eq!(near.read(backwards).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
