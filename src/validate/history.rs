//! `failed_checkpoints.txt`: what failed before, a line per failure.
//!
//! ```text
//! path|reason|timestamp
//! ```
//!
//! The path is relative to the directory that holds the file, the timestamp is RFC 3339 in UTC with
//! seconds. Path and reason are escaped so that every line has exactly two bars: a backslash is
//! `\\`, a newline `\n`, and every other control character, bar, or byte that is no UTF-8 is `\xNN`.
//! Lines that others wrote are read as far as they can be: a timestamp without a zone is taken as UTC, and a path may be
//! absolute. A malformed one is passed over.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::discover::FAILURE_LOG;
use crate::error::Error;

/// How much of the log's end is read. A line has a few hundred bytes: tens of thousands of failures.
const READ_MAX_BYTES: u64 = 16 << 20;

/// One failure of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastFailure {
    /// The checkpoint, relative to the directory of the log.
    pub path: PathBuf,
    /// Why it failed.
    pub reason: String,
    /// When it was found.
    pub at: Timestamp,
}

/// One line of the log, as it is written: any text can stand for the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureLine {
    /// The checkpoint, as its writer named it.
    pub path: PathBuf,
    /// Why it failed.
    pub reason: String,
    /// When it was found.
    pub at: String,
}

/// What a log holds, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureLines {
    /// The lines that are whole.
    pub whole: Vec<FailureLine>,
    /// The others, as text.
    pub malformed: Vec<String>,
}

/// The failures that a directory's `failed_checkpoints.txt` tells of, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In the order of their lines.
    failures: Vec<PastFailure>,
}

impl History {
    /// The name of the file.
    pub const FILE_NAME: &str = FAILURE_LOG;

    /// Reads the history of a directory; empty where there is none.
    ///
    /// # Errors
    ///
    /// The file is there and can't be read, or is no regular file.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let lines = Self::lines(directory)?.whole.into_iter();
        Ok(Self { failures: lines.filter_map(|line| PastFailure::of(line, &root)).collect() })
    }

    /// Reads the lines of a directory's log as they are; none where there is no log.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn lines(directory: &Path) -> Result<FailureLines, Error> {
        let path = directory.join(Self::FILE_NAME);
        let text =
            match is_regular(&path).and_then(|there| if there { read_end(&path) } else { Ok(Vec::new()) }) {
                Ok(text) => text,
                Err(error) => return Err(Error::io(path, "read the failure log", error)),
            };
        // A path may begin or end with a space.
        let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines = lines.filter(|line| !line.trim_ascii().is_empty());
        let mut read = FailureLines::default();
        for line in lines {
            match parse(line) {
                Some(parsed) => read.whole.push(parsed),
                None => read.malformed.push(String::from_utf8_lossy(line).into_owned()),
            }
        }
        Ok(read)
    }

    /// Appends failures to the log of a directory, and syncs it.
    ///
    /// # Errors
    ///
    /// The file can't be written, or is no regular file.
    pub fn append(directory: &Path, failures: &[PastFailure]) -> Result<(), Error> {
        let lines: Vec<FailureLine> = failures.iter().map(PastFailure::line).collect();
        Self::append_lines(directory, &lines)
    }

    /// As [`append`](Self::append), with paths and times as the caller writes them.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// use ckpt::validate::{FailureLine, History};
    ///
    /// let failure = FailureLine {
    ///     path: "step-100.pt".into(),
    ///     reason: "corrupted: the file is empty".to_owned(),
    ///     at: "2026-03-01T12:30:45Z".to_owned(),
    /// };
    /// History::append_lines(directory.path(), &[failure.clone()])?;
    /// assert_eq!(History::lines(directory.path())?.whole, [failure]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_lines(directory: &Path, failures: &[FailureLine]) -> Result<(), Error> {
        let path = directory.join(Self::FILE_NAME);
        append(&path, failures).map_err(|error| Error::io(path, "write the failure log", error))
    }

    /// Returns the failures of one checkpoint, oldest first.
    pub fn of<'a>(&'a self, path: &'a Path) -> impl DoubleEndedIterator<Item = &'a PastFailure> {
        self.failures.iter().filter(move |failure| failure.path == path)
    }

    /// Returns all failures, oldest first.
    pub fn failures(&self) -> &[PastFailure] {
        &self.failures
    }
}

impl PastFailure {
    /// Makes sense of a line; `None` where its time is none. `root` is the log's directory.
    fn of(line: FailureLine, root: &Path) -> Option<Self> {
        let at = line.at.parse().ok().or_else(|| {
            let local: DateTime = line.at.parse().ok()?;
            Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })?;
        let path = line.path.strip_prefix(root).map_or(line.path.clone(), Path::to_owned);
        Some(Self { path, reason: line.reason, at })
    }

    /// Makes the line, with the time in seconds.
    fn line(&self) -> FailureLine {
        let at = Timestamp::from_second(self.at.as_second()).unwrap_or(self.at);
        FailureLine { path: self.path.clone(), reason: self.reason.clone(), at: at.to_string() }
    }
}

/// Returns whether the log is there. A link is refused: in a directory that others write to, it
/// could point anywhere; and a pipe would block.
fn is_regular(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads the end of the log, from the start of a line on.
fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(READ_MAX_BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    file.take(READ_MAX_BYTES).read_to_end(&mut text)?;
    if skipped > 0 {
        let line = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |end| end + 1);
        text.drain(..line);
    }
    Ok(text)
}

/// Writes whole lines in one call, so that two runs that append at once don't mix theirs.
fn append(path: &Path, failures: &[FailureLine]) -> io::Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let is_there = is_regular(path)?;
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let mut text = String::new();
    if is_there && !ends_in_newline(path)? {
        text.push('\n'); // the last writer was cut off in the middle of a line
    }
    for failure in failures {
        let _: std::fmt::Result = writeln!(text, "{}", line(failure));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Returns whether the last line is whole; an empty file has none that isn't.
fn ends_in_newline(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Makes the text of a line, without its newline.
fn line(failure: &FailureLine) -> String {
    let path = escape(failure.path.as_os_str().as_encoded_bytes());
    format!("{path}|{}|{}", escape(failure.reason.as_bytes()), escape(failure.at.as_bytes()))
}

/// Escapes text so that it fits into one field of one line.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '|' | '\0'..='\x1f' | '\x7f' => push_hex(&mut text, character as u8),
                '\u{80}'..='\u{9f}' => {
                    character.to_string().bytes().for_each(|byte| push_hex(&mut text, byte));
                }
                _ => text.push(character),
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_hex(&mut text, byte));
    }
    text
}

/// Appends a byte as `\xNN`.
fn push_hex(text: &mut String, byte: u8) {
    let _: std::fmt::Result = write!(text, "\\x{byte:02x}");
}

/// Reads an escaped field back. What is no escape (a path of another system) stays as it is.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, length) = if first == b'\\' { escaped(tail) } else { (first, 0) };
        bytes.push(byte);
        rest = tail.get(length..).unwrap_or_default();
    }
    bytes
}

/// Returns the byte that the escape behind a backslash means, and the escape's length.
fn escaped(tail: &[u8]) -> (u8, usize) {
    match tail {
        [b'\\', ..] => (b'\\', 1),
        [b'n', ..] => (b'\n', 1),
        [b'x', high, low, ..] => {
            let hex = [*high, *low];
            let value = str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
            value.map_or((b'\\', 0), |value| (value, 3))
        }
        _ => (b'\\', 0),
    }
}

/// Reads a line. The path ends at the first bar, the timestamp begins after the last.
fn parse(line: &[u8]) -> Option<FailureLine> {
    let path_end = line.iter().position(|&byte| byte == b'|').filter(|end| *end > 0)?;
    let reason_end = line.iter().rposition(|&byte| byte == b'|')?;
    let reason = line.get(path_end + 1..reason_end)?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let at = text(line.get(reason_end + 1..)?.trim_ascii());
    Some(FailureLine { path: path_of(unescape(line.get(..path_end)?)), reason: text(reason), at })
}

/// Makes a path of the bytes that the system gave for it.
#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Makes a path of text: this system has no other.
#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files of their own")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(path: &str, reason: &str) -> PastFailure {
        let at = "2026-03-01T12:30:45Z".parse().unwrap();
        PastFailure { path: path.into(), reason: reason.to_owned(), at }
    }

    #[test]
    fn a_line_is_path_reason_and_timestamp() {
        let line = line(&failure("run/step_3.pt", "checksum-mismatch: bytes differ").line());
        assert_eq!(line, "run/step_3.pt|checksum-mismatch: bytes differ|2026-03-01T12:30:45Z");
    }

    #[test]
    fn bars_newlines_and_control_characters_are_escaped() {
        let line = line(&failure("a|b\nc\\d\u{1b}\u{9b}", "x|y").line());
        assert_eq!(line, r"a\x7cb\nc\\d\x1b\xc2\x9b|x\x7cy|2026-03-01T12:30:45Z");
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let failures = [failure(" a|b\n.pt", "first"), failure("c.pt", "second")];
        History::append(directory.path(), &failures[..1]).unwrap();
        History::append(directory.path(), &failures[1..]).unwrap();
        let history = History::read(directory.path()).unwrap();
        assert_eq!(history.failures(), failures);
        assert_eq!(history.of(Path::new("c.pt")).count(), 1);
    }

    #[test]
    fn malformed_lines_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join(History::FILE_NAME);
        let text: &[u8] =
            b"garbage\n\n|\n||\na.pt|no time|yesterday\n\xff|r|2026-03-01T12:30:45Z\nb.pt|a|b|2026-03-01T12:30:45+01:00\nC:\\runs|r|2026-03-01T12:30:45Z";
        fs::write(&log, text).unwrap();
        History::append(directory.path(), &[failure("last.pt", "r")]).unwrap();
        let history = History::read(directory.path()).unwrap();
        let reasons: Vec<_> = history.failures().iter().map(|failure| failure.reason.as_str()).collect();
        assert_eq!(reasons, ["r", "a|b", "r", "r"]);
        assert_eq!(history.failures()[2].path, Path::new("C:\\runs"));
        assert_eq!(history.failures()[3].path, Path::new("last.pt"));
    }

    #[test]
    fn the_lines_of_other_programs_are_taken_up() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("a.pt");
        let text = format!("{}|first|2026-03-01T12:30:45.5\nb.pt|two|whenever\nno line\n", inside.display());
        fs::write(directory.path().join(History::FILE_NAME), text).unwrap();
        let history = History::read(directory.path()).unwrap();
        let first = failure("a.pt", "first");
        let at = "2026-03-01T12:30:45.5Z".parse().unwrap();
        assert_eq!(history.failures(), [PastFailure { at, ..first }]);
        let lines = History::lines(directory.path()).unwrap();
        let second = FailureLine { path: "b.pt".into(), reason: "two".to_owned(), at: "whenever".to_owned() };
        assert_eq!((&lines.whole[1..], &lines.malformed[..]), (&[second][..], &["no line".to_owned()][..]));
    }

    #[test]
    fn a_log_that_is_no_regular_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(History::FILE_NAME)).unwrap();
        assert!(History::read(directory.path()).is_err());
        assert!(History::append(directory.path(), &[failure("a", "b")]).is_err());
    }

    #[test]
    fn a_directory_without_a_log_has_no_history() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(History::read(directory.path()).unwrap(), History::default());
    }

    proptest! {
        #[test]
        fn every_path_and_reason_survives(path in proptest::collection::vec(any::<u8>(), 1..40), reason in "\\PC*|.*") {
            let escaped = escape(&path);
            prop_assert!(!escaped.contains(['|', '\n']));
            prop_assert_eq!(unescape(escaped.as_bytes()), path);
            let failure = PastFailure { reason, ..failure("x", "") };
            let parsed = parse(line(&failure.line()).as_bytes());
            prop_assert_eq!(parsed.and_then(|line| PastFailure::of(line, Path::new("/"))), Some(failure));
        }
    }
}
