use std::fs::{File, FileType, Metadata};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use super::buffer::with_copy_buffer;
use super::scan::{ReadSpan as _, scan, scan_digests};
use super::section::{Shifted, check_section};
use super::system::{self, FileReader};
use super::{ReadAt, ScanOptions, ScanSource};
use crate::digest::{Algorithm, Crc32, Digest};

/// How many places of a file are looked at to say whether it is in the page cache.
const CACHE_PROBES: u64 = 8;

/// A regular file, open for reading.
///
/// Its length is that at the time of opening. A file that is written to meanwhile can't hurt: nothing is
/// mapped into memory, so that a truncation is an error and not a signal; [`FileSource::changed`] tells
/// whether what was read may be a mixture.
#[derive(Debug)]
pub struct FileSource {
    reader: FileReader,
    stamp: Stamp,
    /// The part of the file that is seen: all of it, unless somebody said otherwise.
    seen: Range<u64>,
}

impl FileSource {
    /// Opens the file at `path`, following symbolic links.
    ///
    /// # Errors
    ///
    /// The file can't be opened, or it is no regular file ([`io::ErrorKind::InvalidInput`]): a directory,
    /// FIFO, socket or device. Those are refused before they are opened, because opening one can hang or
    /// have effects; one that is put in place meanwhile is refused as well.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, FileReader::new)
    }

    /// Opens the file to see what the device holds of it: what the page cache holds is not believed, as far as
    /// the system allows that. Meant for a file that was just written and synced.
    ///
    /// On Linux, whatever is scanned is read around the cache, and what the cache holds of the file is dropped
    /// first, so that the rest is read anew as well. On other systems it is [`FileSource::open`].
    ///
    /// # Errors
    ///
    /// As [`FileSource::open`].
    pub fn open_fresh(path: &Path) -> io::Result<Self> {
        Self::open_with(path, FileReader::fresh)
    }

    fn open_with(path: &Path, reader: impl FnOnce(File) -> FileReader) -> io::Result<Self> {
        check_regular(std::fs::metadata(path)?.file_type())?;
        let file = system::open(path)?;
        let metadata = file.metadata()?;
        check_regular(metadata.file_type())?;
        let stamp = Stamp::of(&metadata);
        Ok(Self { reader: reader(file), seen: 0..stamp.len, stamp })
    }

    /// Returns a part of the file as if it were a file of its own: one of several checkpoints that lie in it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the part ends past the end.
    pub fn section(self, part: Range<u64>) -> io::Result<Self> {
        check_section(&part, self.len())?;
        let seen = self.seen.start + part.start..self.seen.start + part.end;
        Ok(Self { seen, ..self })
    }

    /// Returns where in the file the part that is seen begins.
    pub(super) fn base(&self) -> u64 {
        self.seen.start
    }

    /// Returns whether the file may have changed since it was opened.
    ///
    /// It looks at the length, the times of modification and of status change, and the inode. A change of
    /// status includes that the name now belongs to another file, and also a new mode or hard link: a
    /// `false` is sure (as far as the clock of the filesystem resolves), a `true` is a suspicion.
    pub fn changed(&self) -> io::Result<bool> {
        Ok(Stamp::of(&self.file().metadata()?) != self.stamp)
    }

    /// Fills `buffer` from `offset` on, as a scan would read it: what the page cache holds from there, the rest
    /// around it. For the bulk of a file, in aligned blocks: a copy of many gigabytes leaves the cache to others.
    ///
    /// # Errors
    ///
    /// As [`ReadAt::read_exact_at`].
    pub fn read_bulk_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut rest = buffer;
        let mut take = |_: u64, bytes: &[u8]| {
            // Bytes come in order, and never more than were asked for.
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            part.copy_from_slice(bytes);
            rest = behind;
        };
        with_copy_buffer(|copy| self.reader().read_span(offset..end, copy, &mut take))
    }

    /// Returns whether the page cache seems to hold the file: a look at a few places, from the first byte to the
    /// last. `false` where the system can't say. Only speed should hang on it.
    pub fn seems_cached(&self) -> bool {
        let last = self.len().saturating_sub(1);
        let places = (0..CACHE_PROBES).map(|number| last / CACHE_PROBES * number).chain([last]);
        places.into_iter().all(|place| self.reader.seems_cached(self.base() + place))
    }

    /// Returns the open file.
    pub(super) fn file(&self) -> &File {
        self.reader.file()
    }

    /// Returns what reads it.
    pub(super) fn reader(&self) -> Shifted<'_, FileReader> {
        Shifted { reader: &self.reader, base: self.base() }
    }
}

impl ReadAt for FileSource {
    fn len(&self) -> u64 {
        self.seen.end - self.seen.start
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.len() => {
                system::read_exact_at(self.file(), buffer, self.base() + offset)
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ScanSource for FileSource {
    fn checksum(&self, ranges: &[Range<u64>], options: &ScanOptions<'_>) -> io::Result<Vec<Crc32>> {
        scan(&self.reader(), self.len(), ranges, options)
    }

    fn digests(
        &self,
        blocks: &[Range<u64>],
        algorithm: Algorithm,
        options: &ScanOptions<'_>,
    ) -> io::Result<Vec<Digest>> {
        scan_digests(&self.reader(), self.len(), blocks, algorithm, options)
    }
}

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Seconds and nanoseconds of the last change of status, device and inode: all 0 where not known.
    status: (i64, i64, u64, u64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok(), status: status(metadata) }
    }
}

#[cfg(unix)]
fn status(metadata: &Metadata) -> (i64, i64, u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec(), metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn status(_metadata: &Metadata) -> (i64, i64, u64, u64) {
    (0, 0, 0, 0)
}

/// Returns an error that says what the file is, unless it is a regular one.
fn check_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{}, not a regular file", name(kind))))
}

#[cfg(unix)]
fn name(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn name(kind: FileType) -> &'static str {
    if kind.is_dir() { "a directory" } else { "a special file" }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    fn temporary(content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, content).unwrap();
        (directory, path)
    }

    #[test]
    fn reads_at_any_offset_and_never_past_the_end() {
        let (_directory, path) = temporary(b"checkpoint");
        let source = FileSource::open(&path).unwrap();
        assert_eq!(source.len(), 10);
        let mut buffer = [0; 5];
        source.read_exact_at(&mut buffer, 5).unwrap();
        assert_eq!(&buffer, b"point");
        for offset in [6, 10, u64::MAX] {
            let error = source.read_exact_at(&mut buffer, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn the_bulk_is_read_like_the_rest() {
        let content: Vec<u8> = (0..9_000_001_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
        let (_directory, path) = temporary(&content);
        for source in [FileSource::open(&path).unwrap(), FileSource::open_fresh(&path).unwrap()] {
            for (offset, len) in
                [(0, 4 << 20), (4 << 20, 4 << 20), (8 << 20, 611_393), (17, 1), (9_000_001, 0)]
            {
                let mut buffer = vec![0; len];
                source.read_bulk_at(&mut buffer, offset as u64).unwrap();
                assert!(buffer == content[offset..offset + len], "{len} bytes at {offset}");
            }
            assert!(source.read_bulk_at(&mut [0], 9_000_001).is_err());
            assert!(source.read_bulk_at(&mut [0], u64::MAX).is_err());
        }
    }

    #[test]
    fn a_section_is_read_like_a_file() {
        let content: Vec<u8> = (0..9_000_001_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
        let (_directory, path) = temporary(&content);
        let open = || FileSource::open(&path).unwrap();
        assert!(open().section(5..9_000_002).is_err());
        let section = open().section(4_097..8_900_000).unwrap().section(3..8_800_003).unwrap();
        let (part, options) = (&content[4_100..8_804_100], ScanOptions::default().with_threads(3));
        assert_eq!(section.len(), 8_800_000);
        assert_eq!(section.checksum(&[7..8_800_000], &options).unwrap(), [Crc32::of(&part[7..])]);
        let digest = section.digests(&[7..99], Algorithm::Blake3, &options).unwrap();
        assert_eq!(digest, [Algorithm::Blake3.digest(&part[7..99])]);
        let mut bulk = vec![0; 5_000_000];
        section.read_bulk_at(&mut bulk, 3_000_000).unwrap();
        assert!(bulk == part[3_000_000..8_000_000]);
        let arena = section.read_arena(&[10..6_000_000], &options, &|_, _| {}).unwrap();
        assert!(arena.get(&(10..6_000_000)).unwrap() == &part[10..6_000_000]);
        let target = crate::io::FillTarget { offset: 1_000_000, bytes: &mut bulk };
        section.read_into(vec![target], &options, &|_, _| {}).unwrap();
        assert!(bulk == part[1_000_000..6_000_000]);
        let mapping = crate::io::Mapping::new(&section).unwrap();
        assert!(mapping.get(&(0..8_800_000)).unwrap() == part);
        assert!(mapping.get(&(0..8_800_001)).is_none());
    }

    #[test]
    fn the_length_is_that_at_opening() {
        let (_directory, path) = temporary(b"checkpoint");
        let source = FileSource::open(&path).unwrap();
        fs::write(&path, b"a longer checkpoint").unwrap();
        assert_eq!(source.len(), 10);
        assert_eq!(source.read_exact_at(&mut [0], 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn notices_a_change() {
        let (_directory, path) = temporary(b"checkpoint");
        let source = FileSource::open(&path).unwrap();
        assert!(!source.changed().unwrap());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(11).unwrap();
        assert!(source.changed().unwrap());
    }

    #[test]
    fn notices_a_write_that_keeps_the_length() {
        let (_directory, path) = temporary(b"checkpoint");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let past = SystemTime::now() - std::time::Duration::from_mins(1);
        file.set_modified(past).unwrap();
        let source = FileSource::open(&path).unwrap();
        assert!(!source.changed().unwrap());
        fs::write(&path, b"CHECKPOINT").unwrap();
        assert!(source.changed().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn notices_that_the_name_went_to_another_file() {
        let (directory, path) = temporary(b"checkpoint");
        let source = FileSource::open(&path).unwrap();
        let other = directory.path().join("other");
        fs::write(&other, b"checkpoint").unwrap();
        // Longer than the tick of a filesystem's clock.
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::rename(&other, &path).unwrap();
        assert!(source.changed().unwrap());
    }

    #[test]
    fn a_file_cut_while_open_is_an_error() {
        let (_directory, path) = temporary(&vec![7; 12 << 20]);
        let source = FileSource::open(&path).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(5 << 20).unwrap();
        for threads in [1, 4] {
            let options = ScanOptions::default().with_threads(threads);
            let error = source.checksum(&[0..12 << 20], &options).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(error.to_string(), "the file became shorter while it was read");
        }
    }

    #[test]
    fn a_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = FileSource::open(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), "a directory, not a regular file");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_could_hang_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let device = Path::new("/dev/null").to_owned();
        let refusals = [(fifo, "a FIFO"), (socket, "a socket"), (device, "a device")];
        for (path, what) in refusals {
            let error = FileSource::open(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("{what}, not a regular file"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn opening_a_fifo_returns_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        // What `open` would meet if the FIFO took a file's place after it was looked at.
        assert!(!system::open(&fifo).unwrap().metadata().unwrap().is_file());
    }
}
