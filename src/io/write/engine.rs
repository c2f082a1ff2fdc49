use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::compose::{Composer, Part, Wanted, gather, length};
use super::layout::{Granule, Layout, Windows};
use super::{Piece, PieceDigest, WriteError, WriteOptions};
use crate::digest::Crc32;
use crate::io::buffer::{DIRECT_BUFFERS, with_direct_buffer};
use crate::io::commit::DiskFile;

/// The bytes that are worth a thread: a few milliseconds of the device, against some 50 µs to start it.
const BYTES_PER_THREAD: u64 = 8 << 20;

/// Writes pieces, sorted by their offsets, to their places in a file, and returns the digests of each.
///
/// Gaps between pieces are left, or filled with zeros where they are narrow: [`write_head`](super::write_head)
/// fills them. With direct I/O the last write is padded with zeros to the file's alignment, so that the
/// caller has to cut the file to its length. Nothing is synced. An error of one thread stops the others;
/// what was written then is arbitrary.
///
/// # Errors
///
/// See [`WriteError`]. Pieces that overlap, or aren't sorted, are [`std::io::ErrorKind::InvalidInput`], and
/// nothing is written.
pub fn write_pieces(
    file: &dyn DiskFile,
    pieces: &[Piece<'_>],
    options: &WriteOptions<'_>,
) -> Result<Vec<PieceDigest>, WriteError> {
    let layout = Layout::new(pieces.iter().copied())?;
    let threads = worthwhile_threads(layout.bytes(), options.threads);
    let queue = Queue(Mutex::new(layout.windows()));
    let work = || drain(file, &layout, &queue, options);
    let parts = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        others.into_iter().fold(own, |parts, other| {
            let (mut parts, others) = (parts?, other.join().unwrap_or_else(panicked)?);
            parts.extend(others);
            Ok(parts)
        })
    })?;
    let empty = |piece: &Piece<'_>| PieceDigest {
        blocks: Vec::new(),
        crc32: (piece.is_data && options.crc32).then(Crc32::default),
    };
    Ok(gather(parts, pieces.iter().map(empty).collect()))
}

/// The windows that no thread has taken yet.
struct Queue<'l, 'a>(Mutex<Windows<'l, 'a>>);

impl<'l, 'a> Queue<'l, 'a> {
    fn lock(&self) -> MutexGuard<'_, Windows<'l, 'a>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next window. The lock doesn't outlive the call.
    fn next(&self) -> Option<Range<u64>> {
        self.lock().next()
    }
}

/// Writes windows until the queue is empty. An error empties it, so that the others stop as well.
fn drain(
    file: &dyn DiskFile,
    layout: &Layout<'_>,
    queue: &Queue<'_, '_>,
    options: &WriteOptions<'_>,
) -> Result<Vec<Part>, WriteError> {
    let wanted = Wanted { algorithm: options.algorithm, crc32: options.crc32 };
    let mut composer = Composer::new(layout, Some(wanted));
    while let Some(window) = queue.next() {
        let granule = Granule::of(file);
        let runs = layout.runs(&window, granule);
        let written = write_runs(file, runs, granule, &mut composer, options.progress);
        written.inspect_err(|_| queue.lock().stop())?;
    }
    Ok(composer.into_parts())
}

/// Writes runs that lie in one window.
pub(super) fn write_runs(
    file: &dyn DiskFile,
    runs: impl Iterator<Item = Range<u64>>,
    granule: Granule,
    composer: &mut Composer<'_, '_>,
    progress: Option<&(dyn Fn(u64) + Sync)>,
) -> Result<(), WriteError> {
    with_direct_buffer(|buffer| {
        for run in runs {
            let (bytes, _) = buffer.split_at_mut(length(&run));
            let filled = composer.fill(&run, bytes, granule)?;
            file.write_all_at(bytes, run.start)?;
            if let Some(progress) = progress {
                progress(filled);
            }
        }
        Ok(())
    })
}

/// Passes a panic on: none of ours, but sources and the progress callback are the caller's.
fn panicked<T>(cause: Box<dyn std::any::Any + Send>) -> T {
    std::panic::resume_unwind(cause)
}

/// Returns how many threads the work is worth: at least one, and each with a buffer of the pool.
fn worthwhile_threads(bytes: u64, most: usize) -> usize {
    usize::try_from(bytes / BYTES_PER_THREAD).unwrap_or(usize::MAX).min(most).clamp(1, DIRECT_BUFFERS)
}
