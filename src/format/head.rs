//! The digest of a head that lies in a file: read in order, never held in memory.

use std::io;
use std::ops::Range;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::io::ReadAt;

/// The most that is read at once, in bytes.
const READ_BYTES: u64 = 1 << 20;

/// The widest gap, in bytes, that is read along to spare a second read: an archive of ten thousand small
/// records has as many gaps.
const MAX_GAP: u64 = 64 << 10;

/// Bytes of the file in whose place others are hashed.
pub(super) struct Blank {
    /// Where they lie.
    pub(super) at: u64,
    /// What stands for them.
    pub(super) bytes: Vec<u8>,
}

/// Reads the head and computes its digest. The head's ranges are sorted and don't overlap.
pub(super) fn read_digest(
    source: &dyn ReadAt,
    algorithm: Algorithm,
    head: &[Range<u64>],
    blanks: &[Blank],
) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = Vec::new();
    let mut waiting: Vec<Range<u64>> = Vec::new();
    for piece in head.iter().flat_map(pieces) {
        if !shares_read(&waiting, &piece) {
            read(source, &waiting, blanks, &mut buffer, &mut hasher)?;
            waiting.clear();
        }
        waiting.push(piece);
    }
    read(source, &waiting, blanks, &mut buffer, &mut hasher)?;
    Ok(hasher.finish())
}

/// Cuts a range into parts of at most [`READ_BYTES`].
fn pieces(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let Range { mut start, end } = range.clone();
    std::iter::from_fn(move || {
        let next = end.min(start.saturating_add(READ_BYTES));
        let piece = std::mem::replace(&mut start, next)..next;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Returns whether one read takes in `piece` together with those before it.
fn shares_read(waiting: &[Range<u64>], piece: &Range<u64>) -> bool {
    let (Some(first), Some(last)) = (waiting.first(), waiting.last()) else { return true };
    piece.start - last.end <= MAX_GAP && piece.end - first.start <= READ_BYTES
}

/// Reads from the first part to the last, and hashes the parts.
fn read(
    source: &dyn ReadAt,
    parts: &[Range<u64>],
    blanks: &[Blank],
    buffer: &mut Vec<u8>,
    hasher: &mut Hasher,
) -> io::Result<()> {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(()) };
    if last.end > source.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let offset = first.start;
    let place = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
    buffer.resize(place(last.end), 0);
    source.read_exact_at(buffer, offset)?;
    for blank in blanks {
        fill(buffer, offset, blank);
    }
    for part in parts {
        hasher.update(buffer.get(place(part.start)..place(part.end)).unwrap_or_default());
    }
    Ok(())
}

/// Puts the part of a blank that lies in `bytes`, which begin at `offset`, in its place.
fn fill(bytes: &mut [u8], offset: u64, blank: &Blank) {
    let (skip, gap) = (offset.saturating_sub(blank.at), blank.at.saturating_sub(offset));
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let gap = usize::try_from(gap).unwrap_or(usize::MAX);
    let fillers = blank.bytes.get(skip..).unwrap_or_default();
    let places = bytes.get_mut(gap..).unwrap_or_default();
    for (byte, filler) in places.iter_mut().zip(fillers) {
        *byte = *filler;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::format::head_digest;

    /// Bytes that count how often they are read.
    struct Counted(Vec<u8>, AtomicUsize);

    impl ReadAt for Counted {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read_exact_at(buffer, offset)
        }
    }

    fn counted(len: usize) -> Counted {
        let byte = |at: usize| (at.wrapping_mul(0x9E37_79B9) >> 13).to_le_bytes()[0];
        Counted((0..len).map(byte).collect(), AtomicUsize::new(0))
    }

    fn by_hand(source: &Counted, head: &[Range<u64>], blanks: &[Blank]) -> Digest {
        let mut bytes = source.0.clone();
        for blank in blanks {
            let at = usize::try_from(blank.at).unwrap();
            bytes[at..at + blank.bytes.len()].copy_from_slice(&blank.bytes);
        }
        let part = |range: &Range<u64>| {
            bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
        };
        head_digest(Algorithm::Crc64Nvme, &head.iter().flat_map(part).collect::<Vec<_>>(), &[])
    }

    #[test]
    fn many_gaps_are_few_reads() {
        let source = counted(3 << 20);
        let head: Vec<_> = (0..15_000).map(|at| at * 200..at * 200 + 90).collect();
        let digest = read_digest(&source, Algorithm::Crc64Nvme, &head, &[]).unwrap();
        assert_eq!(digest, by_hand(&source, &head, &[]));
        assert_eq!(source.1.into_inner(), 3);
    }

    #[test]
    fn wide_gaps_are_not_read_and_long_parts_are_cut() {
        let source = counted(4 << 20);
        let head = [5..10, 200_000..200_001, (1 << 20)..(4 << 20) - 1];
        let digest = read_digest(&source, Algorithm::Crc64Nvme, &head, &[]).unwrap();
        assert_eq!(digest, by_hand(&source, &head, &[]));
        assert_eq!(source.1.into_inner(), 5);
    }

    #[test]
    fn blanks_are_filled_across_reads() {
        let source = counted(3 << 20);
        let blank = |at| Blank { at, bytes: b"0123456789".to_vec() };
        let blanks = [blank(0), blank((1 << 20) - 4), blank((3 << 20) - 10)];
        let digest = read_digest(&source, Algorithm::Crc64Nvme, &[0..3 << 20], &blanks).unwrap();
        assert_eq!(digest, by_hand(&source, &[0..3 << 20], &blanks));
    }

    #[test]
    fn past_the_end_is_an_error() {
        let error = read_digest(&counted(9), Algorithm::Blake3, &[0..1, 5..10], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
