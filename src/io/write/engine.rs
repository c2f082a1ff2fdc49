use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::compose::{Composer, Part, Wanted, gather, length};
use super::layout::{Granule, Layout, Windows};
use super::{Piece, PieceDigest, WriteError, WriteOptions, pipeline};
use crate::digest::Crc32;
use crate::io::Cancel;
use crate::io::buffer::{DIRECT_BUFFERS, with_direct_buffer};
use crate::io::commit::DiskFile;

/// The fewest threads that share the work by its kind: two that fill buffers and two that write them.
const MIN_PIPELINE: usize = 4;

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
    let layout = layout.with_restarts(options.restarts, Granule::of(file))?;
    let threads = worthwhile_threads(layout.bytes(), options.threads);
    let work = Work { file, layout: &layout, queue: Queue(Mutex::new(layout.windows())), options };
    let parts =
        if threads < MIN_PIPELINE { work.write_one_by_one()? } else { pipeline::run(&work, threads)? };
    let empty = |piece: &Piece<'_>| PieceDigest {
        blocks: Vec::new(),
        crc32: (piece.is_data && options.crc32).then(Crc32::default),
    };
    Ok(gather(parts, pieces.iter().map(empty).collect()))
}

/// What the threads of one call share.
pub(super) struct Work<'w, 'a> {
    pub(super) file: &'w dyn DiskFile,
    pub(super) layout: &'w Layout<'a>,
    pub(super) queue: Queue<'w, 'a>,
    pub(super) options: &'w WriteOptions<'w>,
}

impl<'w, 'a> Work<'w, 'a> {
    /// Returns what fills buffers, with the digests that are asked for.
    pub(super) fn composer(&self) -> Composer<'w, 'a> {
        let wanted = Wanted { algorithm: self.options.algorithm, crc32: self.options.crc32 };
        Composer::new(self.layout, Some(wanted))
    }

    /// Returns an error once the writing is to end.
    pub(super) fn check_cancelled(&self) -> Result<(), WriteError> {
        Ok(self.options.cancel.map_or(Ok(()), Cancel::check)?)
    }

    /// Fills and writes one window after the other, on this thread.
    fn write_one_by_one(&self) -> Result<Vec<Part>, WriteError> {
        let mut composer = self.composer();
        while let Some(window) = self.queue.next() {
            self.check_cancelled()?;
            let granule = Granule::of(self.file);
            let runs = self.layout.runs(&window, granule);
            write_runs(self.file, runs, granule, &mut composer, self.options.progress)?;
        }
        Ok(composer.into_parts())
    }
}

/// The windows that no thread has taken yet.
pub(super) struct Queue<'l, 'a>(Mutex<Windows<'l, 'a>>);

impl<'l, 'a> Queue<'l, 'a> {
    fn lock(&self) -> MutexGuard<'_, Windows<'l, 'a>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next window. The lock doesn't outlive the call.
    pub(super) fn next(&self) -> Option<Range<u64>> {
        self.lock().next()
    }

    /// Forgets the windows that are left, so that all threads come to their end.
    pub(super) fn stop(&self) {
        self.lock().stop();
    }
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
            let filled = if let Some((bytes, filled)) = composer.in_place(&run, granule) {
                file.write_all_at(bytes, run.start)?;
                filled
            } else {
                let (bytes, _) = buffer.split_at_mut(length(&run));
                let filled = composer.fill(&run, bytes, granule)?;
                file.write_all_at(bytes, run.start)?;
                filled
            };
            if let Some(progress) = progress {
                progress(filled);
            }
        }
        Ok(())
    })
}

/// Returns how many threads the work is worth: at least one, and each with a buffer of the pool.
fn worthwhile_threads(bytes: u64, most: usize) -> usize {
    usize::try_from(bytes / BYTES_PER_THREAD).unwrap_or(usize::MAX).min(most).clamp(1, DIRECT_BUFFERS)
}
