//! How ranges of a file become reads.
//!
//! The file is seen as windows of [`BLOCK_BYTES`], each at a multiple of that. A block lies in one
//! window, so its read can always be widened to aligned bounds and still fit a buffer; a large range
//! becomes many blocks, which threads share; and small ranges near each other share one block, which is
//! one read.

use std::ops::Range;

use super::sum::Sum;
use crate::digest::Crc32;
use crate::record;

/// The length of a window and of a direct read, in bytes: that of a window of a proof, so that each of a
/// proof's blocks is part of one read. Measured cold: 1 MiB reads reach a third to a half of the device, 4 MiB
/// all of it, 16 MiB no more.
#[expect(clippy::cast_possible_truncation, reason = "4 MiB fit every address space")]
pub(super) const BLOCK_BYTES: usize = record::BLOCK_BYTES as usize;

/// The widest gap, in bytes, that is read along to spare a second read.
const MAX_GAP: u64 = 64 << 10;

/// The part of one range that lies in one block.
#[derive(Debug)]
struct Piece<S> {
    /// The place of the range in the caller's list.
    range: usize,
    span: Range<u64>,
    /// What was computed of the bytes that have been fed so far.
    sum: S,
}

/// One read, with what is to be checksummed of it.
#[derive(Debug)]
pub(super) struct Block<S> {
    span: Range<u64>,
    pieces: Vec<Piece<S>>,
}

impl<S: Sum> Block<S> {
    fn new(piece: Piece<S>) -> Self {
        Self { span: piece.span.clone(), pieces: vec![piece] }
    }

    /// Returns the bytes of the file to read: within one window.
    pub(super) fn span(&self) -> Range<u64> {
        self.span.clone()
    }

    /// Returns how many bytes are checksummed.
    pub(super) fn wanted(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.span.end - piece.span.start).sum()
    }

    fn takes(&self, piece: &Piece<S>) -> bool {
        window(piece.span.start) == window(self.span.start)
            && (self.span.start..=self.span.end.saturating_add(MAX_GAP)).contains(&piece.span.start)
    }

    fn push(&mut self, piece: Piece<S>) {
        self.span.end = self.span.end.max(piece.span.end);
        self.pieces.push(piece);
    }

    /// Takes in `bytes`, which lie at `offset` in the file. Each byte of the span is fed once, in order.
    pub(super) fn feed(&mut self, offset: u64, bytes: &[u8]) {
        for piece in &mut self.pieces {
            if let Some(part) = overlap(offset, bytes, &piece.span) {
                piece.sum.feed(part);
            }
        }
    }

    /// Ends each piece: all bytes of the span were fed.
    pub(super) fn finish(&mut self) {
        self.pieces.iter_mut().for_each(|piece| piece.sum.finish());
    }
}

/// Cuts ranges into blocks, in the order of the file. Empty ranges need none.
pub(super) fn cut<S: Sum>(ranges: &[Range<u64>]) -> Vec<Block<S>> {
    let mut sorted: Vec<_> = ranges.iter().enumerate().filter(|(_, range)| !range.is_empty()).collect();
    sorted.sort_by_key(|(_, range)| range.start);
    let mut blocks: Vec<Block<S>> = Vec::new();
    for piece in sorted.into_iter().flat_map(|(index, range)| pieces(index, range)) {
        match blocks.last_mut() {
            Some(block) if block.takes(&piece) => block.push(piece),
            _ => blocks.push(Block::new(piece)),
        }
    }
    blocks
}

/// Cuts ranges into the reads that they take, in the order of the file.
pub(super) fn spans(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    cut::<Crc32>(ranges).iter().map(Block::span).collect()
}

/// Joins the checksums of the pieces to those of the `count` ranges they were cut from.
pub(super) fn join<S: Sum>(blocks: Vec<Block<S>>, count: usize) -> Vec<S> {
    let mut sums: Vec<S> = std::iter::repeat_with(S::default).take(count).collect();
    for piece in blocks.into_iter().flat_map(|block| block.pieces) {
        if let Some(sum) = sums.get_mut(piece.range) {
            sum.join(piece.sum);
        }
    }
    sums
}

/// Returns whether a range lies within one window.
pub(super) fn is_in_one_window(range: &Range<u64>) -> bool {
    range.is_empty() || window(range.start) == window(range.end - 1)
}

/// Cuts one range where windows meet.
fn pieces<S: Sum>(range: usize, whole: &Range<u64>) -> impl Iterator<Item = Piece<S>> + use<S> {
    let Range { mut start, end } = whole.clone();
    std::iter::from_fn(move || {
        let next = end.min((window(start) + 1).saturating_mul(BLOCK_BYTES as u64));
        let span = std::mem::replace(&mut start, next)..next;
        (!span.is_empty()).then_some(Piece { range, span, sum: S::default() })
    })
}

/// Returns the number of the window that `offset` lies in.
fn window(offset: u64) -> u64 {
    offset / BLOCK_BYTES as u64
}

/// Returns the part of `bytes`, which lie at `offset`, that is inside `span`.
fn overlap<'a>(offset: u64, bytes: &'a [u8], span: &Range<u64>) -> Option<&'a [u8]> {
    let end = offset.saturating_add(bytes.len() as u64).min(span.end);
    let start = offset.max(span.start);
    let from = usize::try_from(start - offset).ok()?;
    let to = usize::try_from(end.checked_sub(offset)?).ok()?;
    bytes.get(from..to).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Crc32;

    const WINDOW: u64 = BLOCK_BYTES as u64;

    fn cut(ranges: &[Range<u64>]) -> Vec<Block<Crc32>> {
        super::cut(ranges)
    }

    fn spans(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        cut(ranges).iter().map(Block::span).collect()
    }

    #[test]
    fn neighbours_share_a_read() {
        let ranges: Vec<_> = (0..1000).map(|i| i * 100..i * 100 + 64).rev().collect();
        assert_eq!(spans(&ranges), [0..999 * 100 + 64]);
        assert_eq!(cut(&ranges)[0].wanted(), 64_000);
    }

    #[test]
    fn a_wide_gap_is_not_read() {
        assert_eq!(spans(&[0..10, 10 + MAX_GAP..20 + MAX_GAP]), [0..20 + MAX_GAP]);
        assert_eq!(spans(&[0..10, 11 + MAX_GAP..20 + MAX_GAP]), [0..10, 11 + MAX_GAP..20 + MAX_GAP]);
    }

    #[test]
    fn a_block_stays_in_its_window() {
        assert_eq!(
            spans(&[WINDOW - 1..2 * WINDOW + 1]),
            [WINDOW - 1..WINDOW, WINDOW..2 * WINDOW, 2 * WINDOW..2 * WINDOW + 1]
        );
    }

    #[test]
    fn the_end_of_the_offsets_does_not_overflow() {
        let blocks = cut(&[u64::MAX - 1..u64::MAX]);
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].span(), u64::MAX - 1..u64::MAX);
    }

    #[test]
    fn overlap_is_the_common_part() {
        assert_eq!(overlap(10, b"abcdef", &(0..12)), Some(&b"ab"[..]));
        assert_eq!(overlap(10, b"abcdef", &(12..99)), Some(&b"cdef"[..]));
        assert_eq!(overlap(10, b"abcdef", &(0..10)), None);
        assert_eq!(overlap(10, b"abcdef", &(0..5)), None);
        assert_eq!(overlap(10, b"abcdef", &(16..20)), None);
    }
}
