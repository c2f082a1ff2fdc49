//! Reading ranges of a file to where they stay, several threads at once, each block handed on while it is in
//! cache.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::arena::Arena;
use super::plan::{self, BLOCK_BYTES};
use super::scan::{ReadSpan, check_bounds, explain, panicked};
use super::{FileSource, ReadAt, ScanOptions};
use crate::io::buffer::with_copy_buffer;

/// The bytes that are worth a thread, against some 50 µs to start it.
const BYTES_PER_THREAD: u64 = 4 << 20;

/// Hears of bytes that were read: their offset in the file, and the bytes. Called from several threads; the
/// bytes of one window of [`BLOCK_BYTES`](crate::record::BLOCK_BYTES) come from one thread, in order.
pub type Feed<'a> = &'a (dyn Fn(u64, &[u8]) + Sync);

/// Memory that a part of a file is to be read into.
#[derive(Debug)]
pub struct FillTarget<'a> {
    /// Where the part begins in the file.
    pub offset: u64,
    /// Where it goes to; as long as the part.
    pub bytes: &'a mut [u8],
}

/// Memory that stands for a part of a file.
#[derive(Debug)]
pub(super) struct Window<'a> {
    /// Where in the file the memory begins.
    start: u64,
    bytes: &'a mut [u8],
}

impl Window<'_> {
    /// Returns the same memory for a part that begins `by` bytes further in the file.
    pub(super) fn shifted(&mut self, by: u64) -> Window<'_> {
        Window { start: self.start + by, bytes: self.bytes }
    }

    /// Returns the memory for a range.
    pub(super) fn part(&mut self, range: Range<u64>) -> io::Result<&mut [u8]> {
        let place = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok();
        let places = place(range.start).zip(place(range.end));
        let part = places.and_then(|(start, end)| self.bytes.get_mut(start..end));
        part.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Returns the memory for a range that is widened to aligned bounds; `None` where it isn't as large, or
    /// its address isn't aligned like the offset.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "direct reads are made on Linux only"))]
    pub(super) fn aligned(&mut self, range: &Range<u64>, alignment: u64) -> Option<&mut [u8]> {
        let start = range.start - range.start % alignment;
        let end = range.end.checked_next_multiple_of(alignment)?;
        let part = self.part(start..end).ok()?;
        (part.as_ptr().addr() as u64).is_multiple_of(alignment).then_some(part)
    }
}

/// Reads a span of a file into its place, and feeds it on in order: offset and bytes.
pub(super) trait FillSpan: ReadSpan {
    fn fill_span(
        &self,
        span: Range<u64>,
        window: &mut Window<'_>,
        feed: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()>;
}

/// What one thread does at a time.
enum Work<'a> {
    /// Spans that go to their places in one window.
    Fill(Window<'a>, Vec<Range<u64>>),
    /// One span, whose parts go to several places.
    Scatter(Range<u64>, Vec<FillTarget<'a>>),
}

impl Work<'_> {
    /// How many bytes are read.
    fn bytes(&self) -> u64 {
        let len = |span: &Range<u64>| span.end - span.start;
        match self {
            Self::Fill(_, spans) => spans.iter().map(len).sum(),
            Self::Scatter(span, _) => len(span),
        }
    }

    fn run(self, reader: &impl FillSpan, feed: Feed<'_>) -> io::Result<()> {
        match self {
            Self::Fill(mut window, spans) => spans
                .into_iter()
                .try_for_each(|span| reader.fill_span(span, &mut window, &mut |at, bytes| feed(at, bytes))),
            Self::Scatter(span, mut targets) => with_copy_buffer(|buffer| {
                reader.read_span(span, buffer, &mut |at, bytes| {
                    for target in &mut targets {
                        copy_common(at, bytes, target);
                    }
                    feed(at, bytes);
                })
            }),
        }
    }
}

/// Copies what bytes at an offset and a target have in common.
fn copy_common(at: u64, bytes: &[u8], target: &mut FillTarget<'_>) {
    let skip = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let source = bytes.get(skip(at, target.offset)..).unwrap_or_default();
    let place = target.bytes.get_mut(skip(target.offset, at)..).unwrap_or_default();
    let common = source.len().min(place.len());
    if let (Some(source), Some(place)) = (source.get(..common), place.get_mut(..common)) {
        place.copy_from_slice(source);
    }
}

impl FileSource {
    /// Reads ranges into memory of their own.
    ///
    /// What the page cache holds is copied from there; the rest is read around it, straight into place, where
    /// the file system can do that. Ranges may come in any order and overlap; `feed` hears each byte once, and
    /// bytes between near ranges as well.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if a range ends past the end, before anything is read, or if the
    /// bytes turn out not to be there any more; [`io::ErrorKind::OutOfMemory`] where there is not so much
    /// memory.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("file");
    /// # std::fs::write(&path, b"checkpoint")?;
    /// use ckpt::io::{FileSource, ScanOptions};
    ///
    /// let source = FileSource::open(&path)?;
    /// let arena = source.read_arena(&[5..10], &ScanOptions::default(), &|_, _| {})?;
    /// assert_eq!(arena.get(&(5..10)), Some(&b"point"[..]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_arena(
        &self,
        ranges: &[Range<u64>],
        options: &ScanOptions<'_>,
        feed: Feed<'_>,
    ) -> io::Result<Arena> {
        check_bounds(ranges, self.len())?;
        let spans = plan::spans(ranges);
        let mut arena = Arena::new(&spans)?;
        let mut spans = spans.into_iter().peekable();
        let mut work = Vec::new();
        for (start, bytes) in arena.windows() {
            let end = start + BLOCK_BYTES as u64;
            let mut own = Vec::new();
            while let Some(span) = spans.next_if(|span| span.start < end) {
                own.push(span);
            }
            if !own.is_empty() {
                work.push(Work::Fill(Window { start, bytes }, own));
            }
        }
        run(&self.reader(), work, options, feed)?;
        Ok(arena)
    }

    /// Reads ranges, and keeps nothing of them: `feed` hears each byte once, as with [`FileSource::read_arena`].
    ///
    /// # Errors
    ///
    /// See [`FileSource::read_arena`].
    pub fn read_past(
        &self,
        ranges: &[Range<u64>],
        options: &ScanOptions<'_>,
        feed: Feed<'_>,
    ) -> io::Result<()> {
        check_bounds(ranges, self.len())?;
        let work = plan::spans(ranges).into_iter().map(|span| Work::Scatter(span, Vec::new()));
        run(&self.reader(), work.collect(), options, feed)
    }

    /// Reads parts of the file into memory that is there already. As [`FileSource::read_arena`], and with
    /// another copy for what is read around the page cache.
    ///
    /// # Errors
    ///
    /// See [`FileSource::read_arena`]. Some of the memory may have been written to.
    pub fn read_into(
        &self,
        targets: Vec<FillTarget<'_>>,
        options: &ScanOptions<'_>,
        feed: Feed<'_>,
    ) -> io::Result<()> {
        let range =
            |target: &FillTarget<'_>| target.offset..target.offset.saturating_add(target.bytes.len() as u64);
        let ranges: Vec<_> = targets.iter().map(range).collect();
        check_bounds(&ranges, self.len())?;
        let spans = plan::spans(&ranges).into_iter();
        let mut pieces: Vec<_> = targets.into_iter().flat_map(cut_target).collect();
        pieces.sort_by_key(|piece| piece.offset);
        let mut pieces = pieces.into_iter().peekable();
        let mut work = Vec::new();
        for span in spans {
            let mut own = Vec::new();
            while let Some(piece) = pieces.next_if(|piece| piece.offset < span.end) {
                own.push(piece);
            }
            work.push(match <[FillTarget<'_>; 1]>::try_from(own) {
                Ok([FillTarget { offset, bytes }]) => Work::Fill(Window { start: offset, bytes }, vec![span]),
                Err(own) => Work::Scatter(span, own),
            });
        }
        run(&self.reader(), work, options, feed)
    }
}

/// Cuts a target where windows meet.
fn cut_target(target: FillTarget<'_>) -> Vec<FillTarget<'_>> {
    let FillTarget { mut offset, bytes: mut rest } = target;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let left = BLOCK_BYTES as u64 - offset % BLOCK_BYTES as u64;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let (bytes, behind) = rest.split_at_mut(len);
        pieces.push(FillTarget { offset, bytes });
        offset += len as u64;
        rest = behind;
    }
    pieces
}

/// Does the work, in its order, with as many threads as it is worth. After an error, what is begun is ended.
fn run(
    reader: &(impl FillSpan + Sync),
    work: Vec<Work<'_>>,
    options: &ScanOptions<'_>,
    feed: Feed<'_>,
) -> io::Result<()> {
    let bytes: u64 = work.iter().map(Work::bytes).sum();
    let threads = usize::try_from(bytes / BYTES_PER_THREAD).unwrap_or(usize::MAX).min(options.threads).max(1);
    let queue = Mutex::new(work.into_iter());
    let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    let drain = || loop {
        // A statement of its own: the lock must not live through the read.
        let next = lock().next();
        let Some(work) = next else { return Ok(()) };
        let bytes = work.bytes();
        if let Err(error) = options.check_cancelled().and_then(|()| work.run(reader, feed)) {
            *lock() = Vec::new().into_iter();
            return Err(explain(error));
        }
        options.tell(bytes);
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(drain)).collect();
        let own = drain();
        others.into_iter().fold(own, |result, other| result.and(other.join().unwrap_or_else(panicked)))
    })
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "what is tested fits memory")]
mod tests {
    use std::fs::OpenOptions;
    use std::path::PathBuf;

    use super::*;

    const WINDOW: u64 = BLOCK_BYTES as u64;
    const LEN: u64 = 2 * WINDOW + 12_345;

    fn file() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let byte = |at: u64| (at.wrapping_mul(0x9E37_79B9) >> 13).to_le_bytes()[0];
        let content: Vec<u8> = (0..LEN).map(byte).collect();
        std::fs::write(&path, &content).unwrap();
        (directory, path, content)
    }

    /// Pushes the file out of the page cache, as far as the system does that.
    fn evict(path: &std::path::Path) {
        let file = std::fs::File::open(path).unwrap();
        file.sync_all().unwrap();
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }

    fn ranges() -> Vec<Vec<Range<u64>>> {
        vec![
            vec![0..LEN],
            vec![1..LEN - 1],
            vec![WINDOW - 1..WINDOW + 1, 5..9, 5..9, 7..20, 3..3],
            vec![4096..WINDOW, WINDOW..LEN],
            vec![100..WINDOW - 100, WINDOW + (1 << 20)..2 * WINDOW, 2 * WINDOW + 7..LEN],
            vec![LEN..LEN],
            vec![],
        ]
    }

    /// Collects what is fed, and refuses a byte that comes twice.
    fn collector() -> Mutex<Vec<Option<u8>>> {
        Mutex::new(vec![None; LEN as usize])
    }

    fn collect(collected: &Mutex<Vec<Option<u8>>>, at: u64, bytes: &[u8]) {
        let mut collected = collected.lock().unwrap();
        for (place, byte) in collected[at as usize..].iter_mut().zip(bytes) {
            assert_eq!(place.replace(*byte), None);
        }
    }

    fn part<'a>(content: &'a [u8], range: &Range<u64>) -> &'a [u8] {
        &content[range.start as usize..range.end as usize]
    }

    #[test]
    fn nothing_is_read_once_it_is_cancelled() {
        let (_directory, path, _content) = file();
        let source = FileSource::open(&path).unwrap();
        let cancel = crate::io::Cancel::default();
        let options = ScanOptions::default().with_cancel(&cancel);
        // The first window is read, and says so; the next ones aren't.
        let read = Mutex::new(0);
        let feed = |_, bytes: &[u8]| {
            *read.lock().unwrap() += bytes.len();
            cancel.cancel();
        };
        let mut bytes = vec![0; LEN as usize];
        let targets = vec![FillTarget { offset: 0, bytes: &mut bytes }];
        let error = source.read_into(targets, &options, &feed).unwrap_err();
        assert!(crate::io::Cancelled::is_reason_of(&error), "{error}");
        assert_eq!(*read.lock().unwrap() as u64, WINDOW);
        let error = source.read_arena(&[0..LEN], &options, &feed).unwrap_err();
        assert!(crate::io::Cancelled::is_reason_of(&error), "{error}");
        assert_eq!(*read.lock().unwrap() as u64, WINDOW);
    }

    fn was_fed(collected: &Mutex<Vec<Option<u8>>>, content: &[u8], range: &Range<u64>) -> bool {
        let collected = collected.lock().unwrap();
        let fed = &collected[range.start as usize..range.end as usize];
        fed.iter().zip(part(content, range)).all(|(fed, byte)| *fed == Some(*byte))
    }

    #[test]
    fn an_arena_holds_what_was_asked_for() {
        let (_directory, path, content) = file();
        for (threads, cold) in [(1, false), (1, true), (4, false), (4, true)] {
            for ranges in ranges() {
                if cold {
                    evict(&path);
                }
                let source = FileSource::open(&path).unwrap();
                let options = ScanOptions::default().with_threads(threads);
                let fed = collector();
                source.read_past(&ranges, &options, &|at, bytes| collect(&fed, at, bytes)).unwrap();
                assert!(ranges.iter().all(|range| was_fed(&fed, &content, range)));
                let fed = collector();
                let arena =
                    source.read_arena(&ranges, &options, &|at, bytes| collect(&fed, at, bytes)).unwrap();
                for range in &ranges {
                    assert!(arena.get(range) == Some(part(&content, range)), "{range:?}");
                    assert!(was_fed(&fed, &content, range), "{range:?}");
                }
            }
        }
    }

    #[test]
    fn memory_that_is_there_gets_what_was_asked_for() {
        let (_directory, path, content) = file();
        for (threads, cold) in [(1, false), (1, true), (4, true)] {
            for ranges in ranges() {
                if cold {
                    evict(&path);
                }
                let source = FileSource::open(&path).unwrap();
                let options = ScanOptions::default().with_threads(threads);
                let mut memory: Vec<Vec<u8>> =
                    ranges.iter().map(|range| vec![0; (range.end - range.start) as usize]).collect();
                let pairs = ranges.iter().zip(&mut memory);
                let targets = pairs.map(|(range, bytes)| FillTarget { offset: range.start, bytes }).collect();
                let fed = collector();
                source.read_into(targets, &options, &|at, bytes| collect(&fed, at, bytes)).unwrap();
                for (range, bytes) in ranges.iter().zip(&memory) {
                    assert!(bytes == part(&content, range), "{range:?}");
                    assert!(was_fed(&fed, &content, range), "{range:?}");
                }
            }
        }
    }

    #[test]
    fn a_file_cut_while_open_is_an_error() {
        let (_directory, path, _) = file();
        let source = FileSource::open(&path).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(WINDOW + 5).unwrap();
        for threads in [1, 4] {
            let options = ScanOptions::default().with_threads(threads);
            let error = source.read_arena(&[0..LEN], &options, &|_, _| {}).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            let error = source.read_past(&[0..LEN], &options, &|_, _| {}).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            let mut bytes = vec![0; LEN as usize];
            let target = FillTarget { offset: 0, bytes: &mut bytes };
            let error = source.read_into(vec![target], &options, &|_, _| {}).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        let error = source.read_arena(&[0..LEN + 1], &ScanOptions::default(), &|_, _| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
