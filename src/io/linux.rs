//! Reading a file on Linux: from the page cache what is there, around it what isn't.
//!
//! A block is first asked for with `RWF_NOWAIT`, which hands over what the page cache holds and never
//! waits for the device. The rest is read with `O_DIRECT`: at the device's full speed, without the copy
//! and without pushing other people's pages out of the cache. Measured with CRC-32 on an EPYC with two
//! cores, behind a hypervisor: cached 14 GB/s on one thread and 28 on two; cold 2.8–3.1, as the same
//! direct reads without a checksum.
//!
//! A mapping of the file would reach 33 and 38 GB/s cached. But truncating a mapped file kills the process
//! that reads it, and a training job that saves in place does just that.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use rustix::fs::{Advice, OFlags, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::buffer::{COPY_BYTES, with_direct_buffer};
use super::fill::{FillSpan, Window};
use super::scan::ReadSpan;

/// How much of a block is asked of the page cache first, in bytes. A miss makes the kernel begin to read
/// as much as was asked for: with 1 MiB, verifying a cold file took a tenth longer.
const CACHE_PROBE_BYTES: usize = 4 << 10;

/// The least that is worth a direct read, in bytes. Below, the kernel's readahead does as well, and
/// leaves small files in the cache for whoever loads them next.
const MIN_DIRECT_BYTES: u64 = 512 << 10;

/// The alignment of direct reads, in bytes: that of the strictest common device.
const DIRECT_ALIGNMENT: u64 = 4096;

/// The most blocks that are read directly before the page cache is asked again.
///
/// Asking costs: a miss makes the kernel start its own readahead, which then competes.
const MAX_COLD_RUN: u32 = 16;

/// Opens a file read-only, such that it can't hang on what isn't a regular file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY)).open(path)
}

/// Fills `buffer` from `offset` on, through the page cache.
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

/// The file systems whose mappings are fast and safe, by their magic numbers (`linux/magic.h`, and those of
/// ZFS): local ones. Network file systems and FUSE are left out: mapped reads are slow there, one page at a
/// time, and a lost connection is a signal.
const LOCAL: [u32; 7] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // Btrfs
    0x0102_1994, // tmpfs
    0x794C_7630, // overlayfs
    0x2FC1_2FC1, // ZFS
    0xF2F5_2010, // F2FS
];

/// Returns whether a file lies on one of the local file systems; an unknown one is none.
pub(super) fn is_local(file: &File) -> bool {
    // The magic number has 32 bits; the field's type differs between architectures.
    rustix::fs::fstatfs(file).is_ok_and(|stat| {
        LOCAL.into_iter().any(|magic| i128::from(stat.f_type) & 0xFFFF_FFFF == i128::from(magic))
    })
}

/// An open file, with what has been learned about reading it.
#[derive(Debug)]
pub(super) struct FileReader {
    file: File,
    /// The same file opened for direct reads; `None` where that isn't to be had.
    direct: OnceLock<Option<File>>,
    /// Set once a direct read was refused.
    direct_refused: AtomicBool,
    /// Set once the filesystem has shown that it can't answer from the cache alone.
    cache_unknown: AtomicBool,
    /// The blocks still to be read directly before the cache is asked again.
    cold_left: AtomicU32,
    /// How many blocks that will be after the next miss: it doubles with each.
    cold_run: AtomicU32,
    /// Whether nothing is to be taken from the page cache.
    is_fresh: bool,
}

impl ReadSpan for FileReader {
    fn read_span(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        if self.is_fresh {
            return self.read_fresh(span, buffer, feed);
        }
        let mut start = span.start;
        if self.should_ask_cache() {
            start = self.read_cached(span.clone(), buffer, feed)?;
            self.learn(start == span.end);
        }
        if span.end - start >= MIN_DIRECT_BYTES && !self.cache_unknown.load(Relaxed) {
            start = with_direct_buffer(|buffer| self.read_direct(start..span.end, buffer, feed))?;
        }
        self.read_buffered(start..span.end, buffer, feed)
    }
}

impl FillSpan for FileReader {
    fn fill_span(
        &self,
        span: Range<u64>,
        window: &mut Window<'_>,
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let mut start = span.start;
        if self.should_ask_cache() {
            start = self.fill_cached(span.clone(), window, feed)?;
            self.learn(start == span.end);
        }
        if span.end - start >= MIN_DIRECT_BYTES && !self.cache_unknown.load(Relaxed) {
            start = self.fill_direct(start..span.end, window, feed)?;
        }
        while start < span.end {
            let chunk = window.part(start..span.end.min(start + COPY_BYTES as u64))?;
            self.file.read_exact_at(chunk, start)?;
            feed(start, chunk);
            start += chunk.len() as u64;
        }
        Ok(())
    }
}

impl FileReader {
    /// Takes an open file.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            direct: OnceLock::new(),
            direct_refused: AtomicBool::new(false),
            cache_unknown: AtomicBool::new(false),
            cold_left: AtomicU32::new(0),
            cold_run: AtomicU32::new(0),
            is_fresh: false,
        }
    }

    /// Takes an open file that is to be read from the device. What the cache holds of it is dropped: all
    /// but what was never synced.
    pub(super) fn fresh(file: File) -> Self {
        let this = Self { is_fresh: true, ..Self::new(file) };
        this.forget(0..0);
        this
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns whether the next block may be in the cache.
    fn should_ask_cache(&self) -> bool {
        let is_cold = self.cold_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        !is_cold && !self.cache_unknown.load(Relaxed)
    }

    /// Remembers whether a block was in the cache as a whole.
    ///
    /// A single miss says little, since a page here and there can be missing; the blocks that are read
    /// without asking come with the second in a row. Threads may race here: only speed is at stake.
    fn learn(&self, was_cached: bool) {
        let run = if was_cached { 0 } else { self.cold_run.load(Relaxed) };
        self.cold_left.store(run, Relaxed);
        self.cold_run.store(if was_cached { 0 } else { (run * 2).clamp(1, MAX_COLD_RUN) }, Relaxed);
    }

    /// Feeds what the page cache holds from the start of `span` on, and returns where that ends.
    fn read_cached(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<u64> {
        let mut at = span.start;
        let mut most = CACHE_PROBE_BYTES.min(buffer.len());
        while at < span.end {
            let chunk = prefix(buffer.split_at_mut(most).0, span.end - at);
            let Some(count) = self.ask_cache(chunk, at)? else { break };
            feed(at, chunk.split_at(count).0);
            at += count as u64;
            most = buffer.len();
        }
        Ok(at)
    }

    /// Fills the window with what the page cache holds from the start of `span` on, and returns where that
    /// ends.
    fn fill_cached(
        &self,
        span: Range<u64>,
        window: &mut Window<'_>,
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<u64> {
        let mut at = span.start;
        let mut most = CACHE_PROBE_BYTES;
        while at < span.end {
            let chunk = window.part(at..span.end.min(at + most as u64))?;
            let Some(count) = self.ask_cache(chunk, at)? else { break };
            feed(at, chunk.split_at(count).0);
            at += count as u64;
            most = COPY_BYTES;
        }
        Ok(at)
    }

    /// Reads what the page cache holds from `at` on; `None` where it holds nothing, or can't say.
    fn ask_cache(&self, chunk: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        loop {
            match preadv2(&self.file, &mut [IoSliceMut::new(chunk)], at, ReadWriteFlags::NOWAIT) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(None),
                Ok(count) => return Ok(Some(count)),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.cache_unknown.store(true, Relaxed);
                    self.prepare_buffered();
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Fills the window with `span`, read around the page cache: straight into place where the window's
    /// memory is aligned like the file, through a buffer elsewhere. Returns where the bytes that could be had
    /// end.
    fn fill_direct(
        &self,
        span: Range<u64>,
        window: &mut Window<'_>,
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<u64> {
        if let Some(place) = window.aligned(&span, DIRECT_ALIGNMENT) {
            return self.read_direct(span, place, feed);
        }
        with_direct_buffer(|buffer| {
            self.read_direct(span, buffer, &mut |offset, bytes| {
                if let Ok(place) = window.part(offset..offset + bytes.len() as u64) {
                    place.copy_from_slice(bytes);
                }
                feed(offset, bytes);
            })
        })
    }

    /// Feeds `span`, read around the page cache, and returns where the bytes that could be had end.
    ///
    /// The read is widened to aligned bounds; a block's window leaves room for that in the buffer.
    fn read_direct(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<u64> {
        let Some(file) = self.direct() else { return Ok(span.start) };
        let lead = (span.start % DIRECT_ALIGNMENT) as usize;
        let start = span.start - lead as u64;
        let aligned = prefix(buffer, span.end.next_multiple_of(DIRECT_ALIGNMENT) - start);
        let count = match file.read_at(aligned, start) {
            Ok(count) => count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.direct_refused.store(true, Relaxed);
                self.prepare_buffered();
                0
            }
            Err(error) => return Err(error),
        };
        let end = span.end.min(start + count);
        if end <= span.start {
            return Ok(span.start);
        }
        let (_, wanted) = prefix(buffer, end - start).split_at(lead);
        feed(span.start, wanted);
        Ok(end)
    }

    /// Feeds `span`, read through the page cache.
    fn read_buffered(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let mut at = span.start;
        while at < span.end {
            let chunk = prefix(buffer, span.end - at);
            self.file.read_exact_at(chunk, at)?;
            feed(at, chunk);
            at += chunk.len() as u64;
        }
        Ok(())
    }

    /// Feeds `span` from the device, however short it is. Where direct reads aren't to be had, the cache is made
    /// to forget the span first.
    fn read_fresh(
        &self,
        span: Range<u64>,
        buffer: &mut [u8],
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let end = span.end;
        let start = with_direct_buffer(|buffer| self.read_direct(span, buffer, feed))?;
        if start < end {
            self.forget(start..end);
        }
        self.read_buffered(start..end, buffer, feed)
    }

    /// Makes the page cache forget a span, widened to whole pages; an empty one stands for the whole file. A
    /// system that can't has nothing else to offer.
    fn forget(&self, span: Range<u64>) {
        let start = span.start - span.start % DIRECT_ALIGNMENT;
        let end = span.end.checked_next_multiple_of(DIRECT_ALIGNMENT).unwrap_or(span.end);
        let _ = fadvise(&self.file, start, NonZeroU64::new(end - start), Advice::DontNeed);
    }

    /// Returns whether the page cache holds a byte.
    pub(super) fn seems_cached(&self, at: u64) -> bool {
        self.ask_cache(&mut [0], at).is_ok_and(|found| found.is_some())
    }

    /// Returns the file opened for direct reads.
    ///
    /// It is opened through the descriptor, not by its name, which may belong to another file by now.
    /// That fails without `/proc`, and on a filesystem without direct reads.
    fn direct(&self) -> Option<&File> {
        let open = || {
            let name = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let file = OpenOptions::new().read(true).custom_flags(flags(OFlags::DIRECT)).open(name);
            file.inspect_err(|_| self.prepare_buffered()).ok()
        };
        self.direct.get_or_init(open).as_ref().filter(|_| !self.direct_refused.load(Relaxed))
    }

    /// Tells the kernel that the file will be read through the cache, in order. Costs nothing where it can't.
    fn prepare_buffered(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::Sequential);
    }
}

/// Returns the first bytes of `buffer`: all that are wanted, or all that there are.
fn prefix(buffer: &mut [u8], wanted: u64) -> &mut [u8] {
    let len = usize::try_from(wanted).unwrap_or(usize::MAX).min(buffer.len());
    buffer.split_at_mut(len).0
}

/// Returns flags as `open` of the standard library takes them.
fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "what is tested fits memory")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::io::buffer::with_copy_buffer;
    use crate::io::plan::BLOCK_BYTES;

    /// A file of 4 MiB and a bit in `directory`: no multiple of any block.
    fn file_in(directory: &Path) -> (Vec<u8>, PathBuf) {
        let byte = |i: u32| i.wrapping_mul(0x9E37_79B1).to_le_bytes()[3];
        let content: Vec<u8> = (0..BLOCK_BYTES as u32 + 12_345).map(byte).collect();
        let path = directory.join("file");
        std::fs::write(&path, &content).unwrap();
        (content, path)
    }

    /// Pushes a file out of the page cache; returns whether the start of it is gone.
    fn evict(path: &Path) -> bool {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let mut byte = [0];
        let read = preadv2(&file, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT);
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        read == Err(Errno::AGAIN)
    }

    #[test]
    fn a_file_seems_cached_once_all_of_it_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let (_, path) = file_in(directory.path());
        let source = || crate::io::FileSource::open(&path).unwrap();
        if !evict(&path) {
            eprintln!("not shown here: this file system keeps what it is asked to drop");
            return;
        }
        assert!(!source().seems_cached());
        std::fs::read(&path).unwrap();
        assert!(source().seems_cached());
        std::fs::write(&path, b"").unwrap();
        assert!(!source().seems_cached());
    }

    /// Spans that begin and end on, before and after pages, each within one window.
    fn spans(len: u64) -> Vec<Range<u64>> {
        let window = BLOCK_BYTES as u64;
        vec![
            0..window,
            1..window - 1,
            4095..1 << 20,
            4096..(1 << 20) + 1,
            100..200,
            window..len,
            window + 5..len - 5,
        ]
    }

    /// Collects what a read feeds, and holds that it is in order and without gaps.
    fn collect(start: u64, read: impl FnOnce(&mut [u8], &mut dyn FnMut(u64, &[u8]))) -> Vec<u8> {
        let mut all = Vec::new();
        with_copy_buffer(|buffer| {
            read(buffer, &mut |offset, bytes| {
                assert_eq!(offset, start + all.len() as u64);
                all.extend_from_slice(bytes);
            });
        });
        all
    }

    fn check_all_spans(content: &[u8], path: &Path, mut before_each: impl FnMut()) {
        for span in spans(content.len() as u64) {
            before_each();
            let reader = FileReader::new(open(path).unwrap());
            let bytes =
                collect(span.start, |buffer, feed| reader.read_span(span.clone(), buffer, feed).unwrap());
            assert!(bytes == content[span.start as usize..span.end as usize], "{span:?}");
        }
    }

    #[test]
    fn reads_what_is_cached() {
        let directory = tempfile::tempdir().unwrap();
        let (content, path) = file_in(directory.path());
        check_all_spans(&content, &path, || {});
    }

    #[test]
    fn reads_what_is_not_cached() {
        let directory = tempfile::tempdir().unwrap();
        let (content, path) = file_in(directory.path());
        if !evict(&path) {
            println!(
                "skipped: files in {} can't be pushed out of the page cache",
                directory.path().display()
            );
            return;
        }
        check_all_spans(&content, &path, || assert!(evict(&path)));
    }

    #[test]
    fn reads_what_is_half_cached() {
        let directory = tempfile::tempdir().unwrap();
        let (content, path) = file_in(directory.path());
        check_all_spans(&content, &path, || {
            evict(&path);
            File::open(&path).unwrap().read_exact_at(&mut vec![0; 1 << 20], 0).unwrap();
        });
    }

    #[test]
    fn reads_directly_at_unaligned_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let (content, path) = file_in(directory.path());
        let reader = FileReader::new(open(&path).unwrap());
        if reader.direct().is_none() {
            println!("skipped: no direct reads in {}", directory.path().display());
            return;
        }
        for span in spans(content.len() as u64) {
            let bytes = collect(span.start, |_, feed| {
                let end = with_direct_buffer(|buffer| reader.read_direct(span.clone(), buffer, feed));
                assert_eq!(end.unwrap(), span.end);
            });
            assert!(bytes == content[span.start as usize..span.end as usize], "{span:?}");
        }
    }

    #[test]
    fn reads_what_lies_in_memory_only() {
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
            println!("skipped: /dev/shm isn't there or can't be written");
            return;
        };
        let (content, path) = file_in(directory.path());
        check_all_spans(&content, &path, || {});
    }

    #[test]
    fn without_direct_reads_or_cache_probes_it_reads_plainly() {
        let directory = tempfile::tempdir().unwrap();
        let (content, path) = file_in(directory.path());
        for (refused, unknown) in [(true, false), (false, true), (true, true)] {
            let reader = FileReader::new(open(&path).unwrap());
            reader.direct_refused.store(refused, Relaxed);
            reader.cache_unknown.store(unknown, Relaxed);
            evict(&path);
            let span = 1..BLOCK_BYTES as u64;
            let bytes = collect(1, |buffer, feed| reader.read_span(span, buffer, feed).unwrap());
            assert!(bytes == content[1..BLOCK_BYTES]);
        }
    }

    #[test]
    fn a_fresh_reader_reads_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let (content, path) = file_in(directory.path());
        for refused in [false, true] {
            for span in spans(content.len() as u64) {
                let reader = FileReader::fresh(open(&path).unwrap());
                reader.direct_refused.store(refused, Relaxed);
                let bytes =
                    collect(span.start, |buffer, feed| reader.read_span(span.clone(), buffer, feed).unwrap());
                assert!(bytes == content[span.start as usize..span.end as usize], "{span:?}");
            }
        }
    }

    #[test]
    fn a_cold_file_is_asked_about_ever_less_often() {
        let directory = tempfile::tempdir().unwrap();
        let (_, path) = file_in(directory.path());
        let reader = FileReader::new(open(&path).unwrap());
        let asks = |_: &u32| {
            let asks = reader.should_ask_cache();
            if asks {
                reader.learn(false);
            }
            asks
        };
        assert_eq!((0..60).filter(asks).collect::<Vec<_>>(), [0, 1, 3, 6, 11, 20, 37, 54]);
        while !reader.should_ask_cache() {}
        reader.learn(true);
        assert!(reader.should_ask_cache() && reader.should_ask_cache());
    }
}
