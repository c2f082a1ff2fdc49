//! Which bytes of a file are written together.

use std::io;
use std::ops::Range;

use super::Piece;
use crate::io::commit::DiskFile;
use crate::record::BLOCK_BYTES;

/// The widest gap between pieces, in bytes, that is written along to spare a second write.
const MAX_GAP: u64 = 64 << 10;

/// Where the last piece has to end: system calls take offsets with a sign, and bounds are rounded up.
const MAX_END: u64 = (u64::MAX >> 1) - BLOCK_BYTES;

/// A piece that has bytes, with its end.
#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    /// Its bytes of the file.
    pub(super) span: Range<u64>,
    /// Its place in the caller's list.
    pub(super) index: usize,
    pub(super) piece: Piece<'a>,
}

/// Pieces in the order of the file. A source is asked for its length once, here.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    placed: Vec<Placed<'a>>,
    /// Where windows begin anew; see [`WriteOptions::restarts`](super::WriteOptions::restarts).
    restarts: &'a [u64],
}

impl<'a> Layout<'a> {
    /// Takes sorted pieces; those without bytes are left out.
    pub(super) fn new(pieces: impl IntoIterator<Item = Piece<'a>>) -> io::Result<Self> {
        let mut placed = Vec::new();
        let mut end = 0;
        for (index, piece) in pieces.into_iter().enumerate() {
            let len = piece.source.len();
            if len == 0 {
                continue;
            }
            let start = piece.offset;
            let next = start.checked_add(len).filter(|next| start >= end && *next <= MAX_END);
            end = next.ok_or_else(|| misplaced(&piece, end))?;
            placed.push(Placed { span: start..end, index, piece });
        }
        Ok(Self { placed, restarts: &[] })
    }

    /// Has the windows begin anew at places: sorted ones, each a multiple of what the file is written in.
    pub(super) fn with_restarts(self, restarts: &'a [u64], granule: Granule) -> io::Result<Self> {
        let is_fit = restarts.is_sorted() && restarts.iter().all(|at| at.is_multiple_of(granule.bytes));
        if is_fit { Ok(Self { restarts, ..self }) } else { Err(unfit_restarts(granule)) }
    }

    /// Returns the pieces that have bytes in `span`.
    pub(super) fn overlapping(&self, span: &Range<u64>) -> &[Placed<'a>] {
        let first = self.placed.partition_point(|placed| placed.span.end <= span.start);
        let (_, rest) = self.placed.split_at(first);
        rest.split_at(rest.partition_point(|placed| placed.span.start < span.end)).0
    }

    /// Returns how many bytes the pieces have.
    pub(super) fn bytes(&self) -> u64 {
        self.placed.iter().map(|placed| placed.span.end - placed.span.start).sum()
    }

    /// Returns the windows that hold bytes of pieces, in order.
    pub(super) fn windows(&self) -> Windows<'_, 'a> {
        Windows { rest: &self.placed, from: 0, restarts: self.restarts }
    }

    /// Returns what to write of a window: runs with bounds at multiples of `granule`, which hold all bytes
    /// of pieces in it, with no gap between two that is narrower than [`Granule::gap`].
    pub(super) fn runs(
        &self,
        window: &Range<u64>,
        granule: Granule,
    ) -> impl Iterator<Item = Range<u64>> + use<'_, 'a> {
        let window = window.clone();
        let mut spans = self.overlapping(&window).iter().map(move |placed| {
            let (start, end) = (placed.span.start.max(window.start), placed.span.end.min(window.end));
            granule.down(start)..end.next_multiple_of(granule.bytes)
        });
        let mut next = spans.next();
        std::iter::from_fn(move || {
            let mut run = next.take()?;
            for span in spans.by_ref() {
                if span.start > run.end.saturating_add(granule.gap) {
                    next = Some(span);
                    break;
                }
                run.end = span.end;
            }
            Some(run)
        })
    }
}

fn misplaced(piece: &Piece<'_>, end: u64) -> io::Error {
    let text = format!("{piece:?} overlaps what ends at {end}, or ends where no file does");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn unfit_restarts(granule: Granule) -> io::Error {
    let text = format!("windows can begin anew at multiples of {} bytes only, in order", granule.bytes);
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The windows of a layout that aren't empty.
#[derive(Clone, Debug)]
pub(super) struct Windows<'l, 'a> {
    /// The pieces that don't end before `from`.
    rest: &'l [Placed<'a>],
    from: u64,
    restarts: &'l [u64],
}

impl Windows<'_, '_> {
    /// Leaves out all that follow.
    pub(super) fn stop(&mut self) {
        self.rest = &[];
    }

    /// Returns the window that a place lies in.
    fn around(&self, at: u64) -> Range<u64> {
        let (before, after) = self.restarts.split_at(self.restarts.partition_point(|start| *start <= at));
        let origin = before.last().copied().unwrap_or(0);
        let start = at - (at - origin) % BLOCK_BYTES;
        let end = start + BLOCK_BYTES;
        start..after.first().map_or(end, |next| end.min(*next))
    }
}

impl Iterator for Windows<'_, '_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let window = self.around(self.from.max(self.rest.first()?.span.start));
        self.rest = self.rest.split_at(self.rest.partition_point(|placed| placed.span.end <= window.end)).1;
        self.from = window.end;
        Some(window)
    }
}

/// How a file wants to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granule {
    /// What bounds of writes are multiples of: a divisor of a window.
    bytes: u64,
    /// The widest gap to write along.
    gap: u64,
}

impl Granule {
    /// Asks the file. An alignment that windows can't keep counts as none.
    pub(super) fn of(file: &dyn DiskFile) -> Self {
        let bytes = file.alignment().map_or(1, |bytes| bytes as u64);
        Self { bytes: if BLOCK_BYTES.is_multiple_of(bytes) { bytes } else { 1 }, gap: MAX_GAP }
    }

    /// Returns whether writes go straight to the device.
    pub(super) fn is_direct(self) -> bool {
        self.bytes > 1
    }

    /// Writes no gap along.
    pub(super) fn without_gaps(self) -> Self {
        Self { gap: 0, ..self }
    }

    /// Returns whether bytes can be written from where they are.
    pub(super) fn fits(self, bytes: &[u8]) -> bool {
        (bytes.as_ptr().addr() as u64).is_multiple_of(self.bytes)
    }

    fn down(self, offset: u64) -> u64 {
        offset - offset % self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(spans: &[(u64, usize)]) -> Vec<(u64, Vec<u8>)> {
        spans.iter().map(|&(offset, len)| (offset, vec![1; len])).collect()
    }

    fn layout(pieces: &[(u64, Vec<u8>)]) -> io::Result<Layout<'_>> {
        Layout::new(pieces.iter().map(|(offset, bytes)| Piece {
            offset: *offset,
            source: bytes,
            is_data: true,
        }))
    }

    #[test]
    fn windows_without_pieces_are_left_out() {
        let pieces = pieces(&[(5, 10), (20, 0), (BLOCK_BYTES * 3 - 1, 2), (BLOCK_BYTES * 4 - 1, 1)]);
        let layout = layout(&pieces).unwrap();
        let numbers: Vec<_> = layout.windows().map(|window| window.start / BLOCK_BYTES).collect();
        assert_eq!(numbers, [0, 2, 3]);
        assert_eq!(layout.bytes(), 13);
        let mut windows = layout.windows();
        windows.next();
        windows.stop();
        assert_eq!(windows.next(), None);
    }

    #[test]
    fn windows_begin_anew_where_they_are_told_to() {
        let pieces = pieces(&[(0, 100), (65_536, 6 << 20), (65_536 + (7 << 20), 10)]);
        let restarts = [65_536, 65_536 + (7 << 20)];
        let layout =
            layout(&pieces).unwrap().with_restarts(&restarts, Granule { bytes: 4096, gap: 0 }).unwrap();
        let (second, third) = (65_536 + BLOCK_BYTES, restarts[1]);
        let expected = [0..65_536, 65_536..second, second..third, third..third + BLOCK_BYTES];
        assert_eq!(layout.windows().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn windows_begin_anew_only_where_a_write_can() {
        for restarts in [&[4096, 100][..], &[8192, 4096], &[512]] {
            let granule = Granule { bytes: 4096, gap: 0 };
            let error = layout(&[]).unwrap().with_restarts(restarts, granule).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{restarts:?}");
        }
    }

    #[test]
    fn runs_are_aligned_and_bridge_narrow_gaps() {
        let far = 8192 + MAX_GAP;
        let pieces = pieces(&[(100, 10), (5000, 10), (far, 1), (far + 4096 + MAX_GAP + 1, 1)]);
        let layout = layout(&pieces).unwrap();
        let runs =
            |bytes, gap| -> Vec<_> { layout.runs(&(0..BLOCK_BYTES), Granule { bytes, gap }).collect() };
        let last = far + 4096 + MAX_GAP;
        assert_eq!(runs(4096, MAX_GAP), [0..last + 4096]);
        assert_eq!(runs(4096, 0), [0..8192, far..far + 4096, last..last + 4096]);
        assert_eq!(runs(1, MAX_GAP), [100..5010, far..far + 1, last + 1..last + 2]);
        assert_eq!(runs(1, 0).len(), 4);
    }

    #[test]
    fn a_piece_over_many_windows_is_in_each() {
        let pieces = pieces(&[(BLOCK_BYTES - 1, 8 << 20)]);
        let layout = layout(&pieces).unwrap();
        let granule = Granule { bytes: 4096, gap: 0 };
        let runs: Vec<_> = layout.windows().flat_map(|window| layout.runs(&window, granule)).collect();
        let last = BLOCK_BYTES * 3;
        assert_eq!(
            runs,
            [BLOCK_BYTES - 4096..BLOCK_BYTES, BLOCK_BYTES..2 * BLOCK_BYTES, last - BLOCK_BYTES..last]
        );
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for spans in [&[(0, 2), (1, 1)][..], &[(9, 1), (3, 1)], &[(MAX_END, 1)], &[(u64::MAX, 2)]] {
            let pieces = pieces(spans);
            assert_eq!(layout(&pieces).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{spans:?}");
        }
        assert!(layout(&pieces(&[(0, 2), (1, 0), (2, 1), (MAX_END - 1, 1)])).is_ok());
    }
}
