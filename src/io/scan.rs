use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::buffer::with_copy_buffer;
use super::plan::{self, Block};
use super::sum::{Blake3, Sum};
use super::{Cancel, ReadAt};
use crate::digest::{Algorithm, Crc32, Crc64, Digest, Hasher};

/// The bytes that are worth a thread: half a millisecond of work or more, against some 50 µs to start it.
const BYTES_PER_THREAD: u64 = 8 << 20;

/// A place whose bytes can be checksummed without being handed out.
///
/// This is how a checkpoint of many gigabytes is verified: the caller says which ranges have a checksum,
/// and holds the answers against those. Files do it at the speed of the device or of memory.
pub trait ScanSource: ReadAt {
    /// Computes the CRC-32 of each range, in the order of `ranges`.
    ///
    /// Ranges may come in any order, be empty, few and huge or many and tiny: neighbours are read
    /// together. They aren't meant to overlap; where they do, the bytes are read more than once.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if a range ends past [`ReadAt::len`] (before anything is read),
    /// or if the bytes turn out not to be there any more.
    ///
    /// ```
    /// use ckpt::digest::Crc32;
    /// use ckpt::io::{ScanOptions, ScanSource};
    ///
    /// let sums = b"checkpoint"[..].checksum(&[5..10, 0..5], &ScanOptions::default())?;
    /// assert_eq!(sums, [Crc32::of(b"point"), Crc32::of(b"check")]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn checksum(&self, ranges: &[Range<u64>], options: &ScanOptions<'_>) -> io::Result<Vec<Crc32>>;

    /// Computes the digest of each block, in the order of `blocks`: as [`ScanSource::checksum`] does, and as
    /// fast where each lies in one window of [`BLOCK_BYTES`](crate::record::BLOCK_BYTES), as the blocks of a
    /// proof do.
    ///
    /// Without another implementation, the blocks are read one by one, by the calling thread.
    ///
    /// # Errors
    ///
    /// As [`ScanSource::checksum`].
    ///
    /// ```
    /// use ckpt::digest::Algorithm;
    /// use ckpt::io::{ScanOptions, ScanSource};
    ///
    /// let algorithm = Algorithm::Crc64Nvme;
    /// let digests = b"checkpoint"[..].digests(&[5..10, 0..5], algorithm, &ScanOptions::default())?;
    /// assert_eq!(digests, [algorithm.digest(b"point"), algorithm.digest(b"check")]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn digests(
        &self,
        blocks: &[Range<u64>],
        algorithm: Algorithm,
        options: &ScanOptions<'_>,
    ) -> io::Result<Vec<Digest>> {
        check_bounds(blocks, self.len())?;
        let feed = |block: &Range<u64>, hasher: &mut Hasher| {
            with_copy_buffer(|buffer| {
                let mut at = block.start;
                while at < block.end {
                    let most = usize::try_from(block.end - at).unwrap_or(usize::MAX).min(buffer.len());
                    let chunk = buffer.split_at_mut(most).0;
                    self.read_exact_at(chunk, at)?;
                    hasher.update(chunk);
                    at += most as u64;
                }
                Ok(())
            })
        };
        blocks.iter().map(|block| one_digest(block, algorithm, options, feed)).collect()
    }
}

/// Computes the digest of one block, whose bytes `feed` gives to the hasher in order.
fn one_digest(
    block: &Range<u64>,
    algorithm: Algorithm,
    options: &ScanOptions<'_>,
    feed: impl Fn(&Range<u64>, &mut Hasher) -> io::Result<()>,
) -> io::Result<Digest> {
    options.check_cancelled()?;
    let mut hasher = Hasher::new(algorithm);
    feed(block, &mut hasher)?;
    options.tell(block.end.saturating_sub(block.start));
    Ok(hasher.finish())
}

/// How a [`ScanSource`] goes about it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ScanOptions<'a> {
    /// The most threads to use, the calling one included; little work uses fewer. Default: 1.
    pub threads: usize,
    /// Hears, from any of the threads, how many further bytes of the ranges were checksummed.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
    /// Ends the scan with an error. It is looked at before each window is read.
    pub cancel: Option<&'a Cancel>,
}

impl Default for ScanOptions<'_> {
    fn default() -> Self {
        Self { threads: 1, progress: None, cancel: None }
    }
}

impl<'a> ScanOptions<'a> {
    /// Sets the most threads to use. 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets who hears of progress.
    #[must_use]
    pub fn with_progress(mut self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Sets what ends the scan.
    #[must_use]
    pub fn with_cancel(mut self, cancel: &'a Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Returns an error once the scan is to end.
    pub(super) fn check_cancelled(&self) -> io::Result<()> {
        self.cancel.map_or(Ok(()), Cancel::check)
    }

    /// Tells of `bytes` further bytes.
    pub(super) fn tell(&self, bytes: u64) {
        if let Some(progress) = self.progress {
            progress(bytes);
        }
    }
}

impl fmt::Debug for ScanOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanOptions")
            .field("threads", &self.threads)
            .field("progress", &self.progress.is_some())
            .field("cancel", &self.cancel)
            .finish()
    }
}

impl ScanSource for [u8] {
    fn checksum(&self, ranges: &[Range<u64>], options: &ScanOptions<'_>) -> io::Result<Vec<Crc32>> {
        check_bounds(ranges, ReadAt::len(self))?;
        options.check_cancelled()?;
        let sum = |range: &Range<u64>| {
            let start = usize::try_from(range.start).ok()?;
            let end = usize::try_from(range.end.max(range.start)).ok()?;
            let bytes = self.get(start..end)?;
            options.tell(bytes.len() as u64);
            Some(Crc32::of(bytes))
        };
        ranges.iter().map(sum).collect::<Option<_>>().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl ScanSource for Vec<u8> {
    fn checksum(&self, ranges: &[Range<u64>], options: &ScanOptions<'_>) -> io::Result<Vec<Crc32>> {
        self.as_slice().checksum(ranges, options)
    }
}

/// Reads one span of a file, and feeds it on in order: offset and bytes. The buffer is for copies out of
/// the page cache: small.
pub(super) trait ReadSpan: Sync {
    fn read_span(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()>;
}

/// Computes the digests of `blocks` of a source of `len` bytes, which `reader` reads.
pub(super) fn scan_digests(
    reader: &impl ReadSpan,
    len: u64,
    blocks: &[Range<u64>],
    algorithm: Algorithm,
    options: &ScanOptions<'_>,
) -> io::Result<Vec<Digest>> {
    match algorithm {
        Algorithm::Crc64Nvme => {
            let sums: Vec<Crc64> = scan(reader, len, blocks, options)?;
            Ok(sums.into_iter().map(Digest::from).collect())
        }
        Algorithm::Blake3 if blocks.iter().all(plan::is_in_one_window) => {
            let sums: Vec<Blake3> = scan(reader, len, blocks, options)?;
            Ok(sums.iter().map(Blake3::digest).collect())
        }
        Algorithm::Blake3 => {
            check_bounds(blocks, len)?;
            let feed = |block: &Range<u64>, hasher: &mut Hasher| feed_in_order(reader, block, hasher);
            blocks.iter().map(|block| one_digest(block, algorithm, options, feed)).collect()
        }
    }
}

/// Gives a hasher a range of any length, in order. No file that is written today needs it: a later writer may
/// choose longer windows.
fn feed_in_order(reader: &impl ReadSpan, range: &Range<u64>, hasher: &mut Hasher) -> io::Result<()> {
    for block in plan::cut::<Crc32>(std::slice::from_ref(range)) {
        let feed = &mut |_: u64, bytes: &[u8]| hasher.update(bytes);
        with_copy_buffer(|buffer| reader.read_span(block.span(), buffer, feed)).map_err(explain)?;
    }
    Ok(())
}

/// Computes the checksums of `ranges` of a source of `len` bytes, which `reader` reads.
pub(super) fn scan<S: Sum>(
    reader: &impl ReadSpan,
    len: u64,
    ranges: &[Range<u64>],
    options: &ScanOptions<'_>,
) -> io::Result<Vec<S>> {
    check_bounds(ranges, len)?;
    let mut blocks: Vec<Block<S>> = plan::cut(ranges);
    let threads = worthwhile_threads(&blocks, options.threads);
    let queue = Mutex::new(blocks.iter_mut());
    let work = || with_copy_buffer(|buffer| drain(&queue, reader, buffer, options));
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        others.into_iter().fold(own, |result, other| result.and(other.join().unwrap_or_else(panicked)))
    })?;
    Ok(plan::join(blocks, ranges.len()))
}

/// Takes blocks off the queue until it is empty. An error empties it, so that the others stop as well.
fn drain<S: Sum>(
    queue: &Mutex<std::slice::IterMut<'_, Block<S>>>,
    reader: &impl ReadSpan,
    buffer: &mut [u8],
    options: &ScanOptions<'_>,
) -> io::Result<()> {
    let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // A statement of its own: the lock must not live through the read.
        let next = lock().next();
        let Some(block) = next else { return Ok(()) };
        let read = options.check_cancelled().and_then(|()| {
            reader.read_span(block.span(), buffer, &mut |offset, bytes| block.feed(offset, bytes))
        });
        if let Err(error) = read {
            *lock() = [].iter_mut();
            return Err(explain(error));
        }
        block.finish();
        options.tell(block.wanted());
    }
}

/// Says what an early end means: the range was inside the file when the file was opened.
pub(super) fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ io::ErrorKind::UnexpectedEof => {
            io::Error::new(kind, "the file became shorter while it was read")
        }
        _ => error,
    }
}

/// Hands on a panic of another thread: there is none of ours, but the progress callback is the caller's.
pub(super) fn panicked(cause: Box<dyn std::any::Any + Send>) -> io::Result<()> {
    std::panic::resume_unwind(cause)
}

/// Returns how many threads the work is worth: at least one.
fn worthwhile_threads<S: Sum>(blocks: &[Block<S>], most: usize) -> usize {
    let bytes: u64 = blocks.iter().map(|block| block.span().end - block.span().start).sum();
    usize::try_from(bytes / BYTES_PER_THREAD).unwrap_or(usize::MAX).min(most).max(1)
}

/// Returns an error if a range ends past the end.
pub(super) fn check_bounds(ranges: &[Range<u64>], len: u64) -> io::Result<()> {
    match ranges.iter().find(|range| range.start.max(range.end) > len) {
        None => Ok(()),
        Some(Range { start, end }) => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("bytes {start}..{end} were asked for, and there are {len}"),
        )),
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "what is tested fits memory")]
mod tests {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::io::FileSource;
    use crate::record::block_ranges;

    const LEN: u64 = 21 << 20;

    static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| pseudo_random(LEN));
    static FILE: LazyLock<(tempfile::TempDir, FileSource)> = LazyLock::new(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, &*CONTENT).unwrap();
        let source = FileSource::open(&path).unwrap();
        (directory, source)
    });

    /// Makes bytes that repeat nowhere near, by a multiplicative congruential generator.
    fn pseudo_random(len: u64) -> Vec<u8> {
        let mut state = 1_u64;
        let next = |_| {
            state = state.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        (0..len).map(next).collect()
    }

    /// Ranges that don't overlap, of all magnitudes, in any order.
    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        let length = (0..24_u32).prop_flat_map(|bits| 0..1_u64 << bits);
        let lengths = prop::collection::vec((length.clone(), length), 0..200);
        let ranges = lengths.prop_map(|lengths| {
            let mut end = 0;
            let place = |(gap, len)| {
                let start = end + gap;
                end = start + len;
                start..end
            };
            lengths.into_iter().map(place).take_while(|range| range.end <= LEN).collect::<Vec<_>>()
        });
        ranges.prop_shuffle()
    }

    fn one_shot(ranges: &[Range<u64>]) -> Vec<Crc32> {
        let part = |range: &Range<u64>| &CONTENT[range.start as usize..range.end as usize];
        ranges.iter().map(|range| Crc32::of(part(range))).collect()
    }

    fn digest_all(blocks: &[Range<u64>], algorithm: Algorithm) -> Vec<Digest> {
        let part = |block: &Range<u64>| &CONTENT[block.start as usize..block.end as usize];
        blocks.iter().map(|block| algorithm.digest(part(block))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_file_in_pieces_sums_like_one(ranges in ranges(), threads in 0..5_usize) {
            let told = AtomicU64::new(0);
            let progress = |bytes| { told.fetch_add(bytes, Ordering::Relaxed); };
            let options = ScanOptions::default().with_threads(threads).with_progress(&progress);
            prop_assert_eq!(FILE.1.checksum(&ranges, &options).unwrap(), one_shot(&ranges));
            let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            prop_assert_eq!(told.into_inner(), wanted);
        }

        #[test]
        fn a_file_in_blocks_digests_like_one(ranges in ranges(), threads in 0..5_usize, window in 9..24_u32) {
            let told = AtomicU64::new(0);
            let progress = |bytes| { told.fetch_add(bytes, Ordering::Relaxed); };
            let options = ScanOptions::default().with_threads(threads).with_progress(&progress);
            let blocks = block_ranges(&ranges, 1 << window);
            for algorithm in Algorithm::ALL {
                let digests = digest_all(&blocks, algorithm);
                prop_assert_eq!(&FILE.1.digests(&blocks, algorithm, &options).unwrap(), &digests);
                prop_assert_eq!(&CONTENT.digests(&blocks, algorithm, &options).unwrap(), &digests);
            }
            let wanted: u64 = blocks.iter().map(|block| block.end - block.start).sum();
            prop_assert_eq!(told.into_inner(), 4 * wanted);
        }

        #[test]
        fn memory_sums_like_a_file(ranges in ranges()) {
            let sums = CONTENT.checksum(&ranges, &ScanOptions::default()).unwrap();
            prop_assert_eq!(sums, one_shot(&ranges));
        }
    }

    #[test]
    fn a_huge_range_is_shared_by_threads() {
        assert_eq!(worthwhile_threads(&plan::cut::<Crc32>(&[0..LEN]), 8), 2);
        let options = ScanOptions::default().with_threads(8);
        assert_eq!(FILE.1.checksum(&[0..LEN], &options).unwrap(), [Crc32::of(&CONTENT)]);
    }

    #[test]
    fn many_tiny_ranges_are_one_read_each_window() {
        let ranges: Vec<_> = (0..LEN / 200).map(|i| i * 200..i * 200 + 150).collect();
        assert_eq!(plan::cut::<Crc32>(&ranges).len(), 6);
        assert_eq!(FILE.1.checksum(&ranges, &ScanOptions::default()).unwrap(), one_shot(&ranges));
    }

    #[test]
    fn overlapping_ranges_are_still_right() {
        let ranges = [0..LEN, 5..6, 0..1 << 20, 4 << 20..LEN, 7..7];
        let options = ScanOptions::default().with_threads(2);
        assert_eq!(FILE.1.checksum(&ranges, &options).unwrap(), one_shot(&ranges));
    }

    #[test]
    fn blocks_of_a_later_writer_may_be_longer_than_a_window() {
        let blocks = [3..LEN - 1, 0..3, 7..7];
        let options = ScanOptions::default().with_threads(2);
        for algorithm in Algorithm::ALL {
            let digests = FILE.1.digests(&blocks, algorithm, &options).unwrap();
            assert_eq!(digests, digest_all(&blocks, algorithm));
        }
    }

    #[test]
    fn nothing_is_nothing() {
        for ranges in [&[][..], &[3..3, LEN..LEN]] {
            assert_eq!(FILE.1.checksum(ranges, &ScanOptions::default()).unwrap(), one_shot(ranges));
        }
    }

    #[test]
    fn past_the_end_is_an_error() {
        let sources: [&dyn ScanSource; 2] = [&FILE.1, &*CONTENT];
        for source in sources {
            for range in [
                LEN - 1..LEN + 1,
                LEN + 1..LEN + 1,
                u64::MAX - 1..u64::MAX,
                Range { start: u64::MAX, end: 0 },
            ] {
                let ranges = [0..1, range];
                let error = source.checksum(&ranges, &ScanOptions::default()).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                for algorithm in Algorithm::ALL {
                    let error = source.digests(&ranges, algorithm, &ScanOptions::default()).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                }
            }
        }
    }

    #[test]
    fn a_scan_that_is_cancelled_reads_no_further_window() {
        let cancel = Cancel::default();
        let told = AtomicU64::new(0);
        let progress = |bytes| {
            told.fetch_add(bytes, Ordering::Relaxed);
            cancel.cancel();
        };
        let options = ScanOptions::default().with_progress(&progress).with_cancel(&cancel);
        let error = FILE.1.checksum(&[0..LEN], &options).unwrap_err();
        assert!(crate::io::Cancelled::is_reason_of(&error));
        assert_eq!(told.load(Ordering::Relaxed), crate::record::BLOCK_BYTES);
        for algorithm in Algorithm::ALL {
            assert!(FILE.1.digests(&[0..LEN], algorithm, &options).is_err());
        }
    }

    #[test]
    fn an_error_stops_all_threads() {
        struct Fails(AtomicU64);
        impl ReadSpan for Fails {
            fn read_span(
                &self,
                _: Range<u64>,
                _: &mut [u8],
                _: &mut dyn FnMut(u64, &[u8]),
            ) -> io::Result<()> {
                self.0.fetch_add(1, Ordering::Relaxed);
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let reader = Fails(AtomicU64::new(0));
        let options = ScanOptions::default().with_threads(4);
        let error = scan::<Crc32>(&reader, 1 << 40, &[0..1 << 30], &options).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(reader.0.into_inner() <= 4);
    }
}
