use std::path::Path;

use jiff::Timestamp;

use crate::Error;
use crate::io::commit::{DiskLock, LocalDisk, Locked, take_lock};
use crate::save::names::beside;

/// What the name of a memory's lock ends in.
const SUFFIX: &str = ".lock";

/// That no other scrub uses the same memory, as long as this lives, on this and (where the file system has
/// locks) on any other machine. The system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _lock: Box<dyn DiskLock>,
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
        match take_lock(&LocalDisk, &path, now) {
            Ok(Locked::Ours(lock)) => Ok(Self { _lock: lock }),
            Ok(Locked::Others(holder)) => {
                Err(Error::usage(format!("another scrub is at work here: {holder}")).at(path))
            }
            Err(error) => Err(Error::io(path, "make the lock (--memory names another place for it)", error)),
        }
    }
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
