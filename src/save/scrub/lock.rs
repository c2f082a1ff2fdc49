use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use jiff::Timestamp;

use crate::Error;
use crate::save::names::beside;

/// What the name of a memory's lock ends in.
const SUFFIX: &str = ".lock";

/// Who holds a lock is said in one line; what is longer was written by others.
const MAX_HOLDER_BYTES: u64 = 1 << 10;

/// That no other scrub uses the same memory, as long as this lives, on this and (where the file system has
/// locks) on any other machine. The system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a memory: a file beside it that says who holds it, and stays.
    ///
    /// # Errors
    ///
    /// Another scrub holds it, or the file can't be made. A file system without locks is no error: two
    /// scrubs at once cost time, and no more.
    pub(super) fn take(memory: &Path, now: Timestamp) -> Result<Self, Error> {
        let path = beside(memory, SUFFIX);
        let failed = |error| Error::io(&path, "make the lock (--memory names another place for it)", error);
        let mut file = open(&path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let message = format!("another scrub is at work here: {}", holder(&mut file));
                return Err(Error::usage(message).at(path));
            }
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        write(&mut file, now).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Opens the file. A link is refused: in a directory that others write to, it could lead anywhere.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Writes down who holds the lock: for people. What counts is the lock, which no killed process can leave behind.
fn write(file: &mut File, now: Timestamp) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {}{}, since {now:.0}", std::process::id(), host())
}

/// Returns who holds the lock, as far as it was written down. The text is others': plain characters only.
fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MAX_HOLDER_BYTES).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    if read.is_err() || line.is_empty() { "it hasn't said which".to_owned() } else { line }
}

#[cfg(unix)]
fn host() -> String {
    format!(" on {}", rustix::system::uname().nodename().to_string_lossy())
}

#[cfg(not(unix))]
fn host() -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let directory = tempfile::tempdir().unwrap();
        let memory = directory.path().join("memory.json");
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let first = Lock::take(&memory, now).unwrap();
        let error = Lock::take(&memory, now).unwrap_err().to_string();
        let who = format!("process {}", std::process::id());
        assert!(error.contains(&who) && error.contains("since 2001-09-09T01:46:40Z"), "{error}");
        drop(first);
        assert!(Lock::take(&memory, now).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_refused_and_what_it_leads_to_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let (memory, other) = (directory.path().join("memory.json"), directory.path().join("other"));
        std::fs::write(&other, b"precious").unwrap();
        std::os::unix::fs::symlink(&other, beside(&memory, SUFFIX)).unwrap();
        assert!(Lock::take(&memory, Timestamp::UNIX_EPOCH).is_err());
        assert_eq!(std::fs::read(other).unwrap(), b"precious");
    }
}
