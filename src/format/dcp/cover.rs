//! Whether a tensor's chunks are the whole of it.

use super::Chunk;
use crate::record::TensorInfo;

/// How many pairs of chunks are compared at most, over all tensors of a checkpoint. A tensor in a grid of a hundred by
/// a hundred chunks needs a million; what needs more was made to keep a reader busy.
pub const MAX_COMPARED: u64 = 200_000_000;

/// How a tensor's chunks lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Every element is in exactly one chunk.
    Whole,
    /// Elements are in no chunk: this many.
    Gap(u64),
    /// These two chunks have elements in common.
    Overlap(usize, usize),
    /// There are too many chunks to compare.
    TooMany,
}

/// Tells how chunks lie in a tensor of this shape. Each has as many dimensions, and lies within it.
///
/// `compared` counts down the pairs that may still be compared: [`MAX_COMPARED`] for all tensors together.
pub fn cover(shape: &[u64], chunks: &[Chunk], compared: &mut u64) -> Cover {
    let mut boxes: Vec<(usize, &Chunk)> =
        chunks.iter().enumerate().filter(|(_, chunk)| !chunk.sizes.contains(&0)).collect();
    let along = most_divided(shape.len(), &boxes);
    let start = |chunk: &Chunk| along.and_then(|along| chunk.offsets.get(along).copied()).unwrap_or(0);
    let end = |chunk: &Chunk| match along {
        Some(along) => start(chunk).saturating_add(chunk.sizes.get(along).copied().unwrap_or(0)),
        None => 1,
    };
    boxes.sort_by_key(|(_, chunk)| start(chunk));
    // Those that may still reach one that begins here or later.
    let mut open: Vec<(usize, &Chunk)> = Vec::new();
    for &(number, chunk) in &boxes {
        open.retain(|(_, other)| end(other) > start(chunk));
        match compared.checked_sub(open.len() as u64 + 1) {
            Some(left) => *compared = left,
            None => return Cover::TooMany,
        }
        if let Some(&(other, _)) = open.iter().find(|(_, other)| have_common(other, chunk)) {
            return Cover::Overlap(other, number);
        }
        open.push((number, chunk));
    }
    // None overlap and all lie within, so that the sum can't overflow where the whole doesn't.
    let volume = |sizes: &[u64]| TensorInfo::count(sizes).unwrap_or(u64::MAX);
    let covered = boxes.iter().fold(0_u64, |sum, (_, chunk)| sum.saturating_add(volume(&chunk.sizes)));
    match volume(shape).saturating_sub(covered) {
        0 => Cover::Whole,
        missing => Cover::Gap(missing),
    }
}

/// Returns the dimension along which the chunks begin at the most different places; none for a scalar.
fn most_divided(dimensions: usize, boxes: &[(usize, &Chunk)]) -> Option<usize> {
    let places = |along: usize| {
        let mut starts: Vec<_> = boxes.iter().filter_map(|(_, chunk)| chunk.offsets.get(along)).collect();
        starts.sort_unstable();
        starts.dedup();
        starts.len()
    };
    // Of one chunk there is nothing to compare, and a tensor has few dimensions that are divided.
    if boxes.len() < 2 {
        return (dimensions > 0).then_some(0);
    }
    (0..dimensions).max_by_key(|&along| places(along))
}

/// Returns whether two boxes, neither of them empty, have elements in common.
fn have_common(one: &Chunk, other: &Chunk) -> bool {
    let ends = |chunk: &Chunk, at: usize| {
        let start = chunk.offsets.get(at).copied().unwrap_or(0);
        (start, start.saturating_add(chunk.sizes.get(at).copied().unwrap_or(0)))
    };
    (0..one.offsets.len()).all(|at| {
        let ((start, end), (other_start, other_end)) = (ends(one, at), ends(other, at));
        start < other_end && other_start < end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offsets: &[u64], sizes: &[u64]) -> Chunk {
        Chunk { offsets: offsets.to_vec(), sizes: sizes.to_vec(), place: None }
    }

    fn covers(shape: &[u64], chunks: &[Chunk]) -> Cover {
        cover(shape, chunks, &mut 1000)
    }

    #[test]
    fn a_grid_is_whole() {
        let grid = [(0, 0, 2, 3), (2, 0, 3, 3), (0, 3, 2, 5), (2, 3, 3, 5)];
        let chunks = grid.map(|(row, column, rows, columns)| chunk(&[row, column], &[rows, columns]));
        assert_eq!(covers(&[5, 8], &chunks), Cover::Whole);
        assert_eq!(covers(&[5, 8], &chunks[1..]), Cover::Gap(6));
        assert_eq!(covers(&[5, 9], &chunks), Cover::Gap(5));
    }

    #[test]
    fn what_overlaps_is_told_even_where_the_count_is_right() {
        let chunks = [chunk(&[0], &[3]), chunk(&[2], &[3])];
        assert_eq!(covers(&[6], &chunks), Cover::Overlap(0, 1));
        let twice = [chunk(&[], &[]), chunk(&[], &[])];
        assert_eq!(covers(&[], &twice), Cover::Overlap(0, 1));
    }

    #[test]
    fn scalars_and_empty_chunks_are_whole() {
        assert_eq!(covers(&[], &[chunk(&[], &[])]), Cover::Whole);
        assert_eq!(covers(&[], &[]), Cover::Gap(1));
        assert_eq!(covers(&[0, 3], &[]), Cover::Whole);
        // Ranks that have nothing of a tensor save chunks at its end, or all at one place.
        let chunks = [chunk(&[0], &[2]), chunk(&[2], &[0]), chunk(&[2], &[0]), chunk(&[1], &[0])];
        assert_eq!(covers(&[2], &chunks), Cover::Whole);
    }

    #[test]
    fn work_is_bounded() {
        let chunks: Vec<_> = (0..100).map(|at| chunk(&[at, 99 - at], &[1, 1])).collect();
        assert_eq!(cover(&[100, 100], &chunks, &mut 10), Cover::TooMany);
        let mut compared = MAX_COMPARED;
        assert_eq!(cover(&[100, 100], &chunks, &mut compared), Cover::Gap(9_900));
        assert!(MAX_COMPARED - compared < 300);
    }
}
