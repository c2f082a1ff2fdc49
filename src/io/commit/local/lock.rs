//! The lock that a file stands for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use super::file::{Lock, try_lock};
use super::system;
use crate::io::commit::disk::{DiskLock, Locked};

/// Who holds a lock is said in one line; what is longer was written by others.
const MAX_HOLDER_BYTES: u64 = 1 << 10;

/// A lock of the real disk. The system frees it when the process ends, however it ends.
#[derive(Debug)]
struct LocalLock {
    file: File,
    is_sure: bool,
}

impl DiskLock for LocalLock {
    fn is_sure(&self) -> bool {
        self.is_sure
    }

    #[cfg(unix)]
    fn hand_down(&self) -> io::Result<()> {
        use rustix::io::{FdFlags, fcntl_setfd};
        Ok(fcntl_setfd(&self.file, FdFlags::empty())?)
    }
}

/// Frees the lock at once. Closing the file wouldn't, as long as a process that was forked meanwhile has it open: a
/// worker that loads data, or a command that is just being started.
impl Drop for LocalLock {
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

/// Takes the lock of a file, which is made where there is none. Without locks it does without, and isn't sure.
pub(super) fn take(path: &Path, holder: &str) -> io::Result<Locked> {
    let mut file = open(path)?;
    let is_sure = match try_lock(&file) {
        Ok(Lock::Others) => return Ok(Locked::Others(read_holder(&mut file))),
        Ok(Lock::Ours) => system::has_sure_locks(&file),
        Ok(Lock::Unknown) | Err(_) => false,
    };
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{holder}")?;
    Ok(Locked::Ours(Box::new(LocalLock { file, is_sure })))
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

/// Returns who holds the lock, as far as it was written down. The text is others': plain characters only.
fn read_holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MAX_HOLDER_BYTES).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    if read.is_err() || line.is_empty() { "it hasn't said which".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let Locked::Ours(first) = take(&path, "the first").unwrap() else { panic!("it is free") };
        match take(&path, "the second").unwrap() {
            Locked::Others(holder) => assert_eq!(holder, "the first"),
            Locked::Ours(second) => {
                assert!(!second.is_sure());
                println!("skipped: locks don't work in {}", directory.path().display());
            }
        }
        drop(first);
        assert!(matches!(take(&path, "the third").unwrap(), Locked::Ours(_)));
        assert_eq!(std::fs::read(&path).unwrap(), b"the third\n");
    }

    #[test]
    fn it_is_free_though_a_forked_process_has_its_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let file = open(&path).unwrap();
        try_lock(&file).unwrap();
        // What a fork leaves in the other process: the same open file.
        let forked = file.try_clone().unwrap();
        drop(LocalLock { file, is_sure: true });
        assert!(matches!(take(&path, "the next").unwrap(), Locked::Ours(_)));
        drop(forked);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_refused_and_what_it_leads_to_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("lock"), directory.path().join("other"));
        std::fs::write(&other, b"precious").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(take(&path, "anybody").is_err());
        assert_eq!(std::fs::read(other).unwrap(), b"precious");
    }
}
