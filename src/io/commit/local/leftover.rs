//! What a killed process leaves behind: which of it is nobody's any more.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::file::{Lock, try_lock};
use super::{names, system};

/// How long nothing was written to a file that is abandoned, where its lock can't tell.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);

/// Removes a temporary file if the process that made it is gone, and returns whether it did.
///
/// Its lock is held meanwhile, so that the one who made it just now, and didn't lock it yet, finds out.
pub(super) fn remove_abandoned(path: &Path) -> io::Result<bool> {
    let Some(file) = open(path)? else { return Ok(false) };
    let is_abandoned = match try_lock(&file)? {
        Lock::Others => false,
        Lock::Ours => system::has_sure_locks(&file) || is_old(&file)?,
        Lock::Unknown => is_old(&file)?,
    };
    // It may have got its final name in the meantime.
    if !is_abandoned || !names::is_at(&file, path)? {
        return Ok(false);
    }
    match names::remove(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a regular file, and nothing that a link leads to. Some network file systems lock only what is open
/// for writing; nothing is written.
fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_file() => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    match options.open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_old(file: &File) -> io::Result<bool> {
    Ok(is_past(file.metadata()?.modified()?))
}

/// Returns whether that was long ago. A time in the future is that of another clock, and says nothing.
fn is_past(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age >= ABANDONED_AFTER)
}

/// Removes a staged directory that nobody fills any more, and returns whether it did. `is_sure` says so;
/// otherwise its age does.
pub(super) fn remove_abandoned_tree(path: &Path, is_sure: bool) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => return Ok(false),
        Ok(metadata) if !is_sure && !is_old_tree(path, metadata.modified()?)? => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    names::remove_tree(path).map(|()| true)
}

/// Returns whether a directory and what is in it were written long ago.
fn is_old_tree(path: &Path, modified: SystemTime) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let is_old = if metadata.is_dir() {
            is_old_tree(&entry.path(), metadata.modified()?)?
        } else {
            is_past(metadata.modified()?)
        };
        if !is_old {
            return Ok(false);
        }
    }
    Ok(is_past(modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_is_what_nobody_wrote_to_for_a_day() {
        let file = tempfile::tempfile().unwrap();
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        for (modified, expected) in [
            (now, false),
            (now - 23 * hour, false),
            (now - 25 * hour, true),
            (now + hour, false),
            (now + 1000 * hour, false),
        ] {
            file.set_modified(modified).unwrap();
            assert_eq!(is_old(&file).unwrap(), expected, "{modified:?}");
        }
    }

    #[test]
    fn a_directory_goes_when_it_is_nobodys_or_old() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("staged");
        let days_ago = SystemTime::now() - Duration::from_hours(49);
        let age = |path: &Path| File::open(path).unwrap().set_modified(days_ago).unwrap();
        let make = || {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("a"), "1").unwrap();
        };
        make();
        assert!(!remove_abandoned_tree(&path, false).unwrap());
        if cfg!(unix) {
            age(&path);
            assert!(!remove_abandoned_tree(&path, false).unwrap(), "a file in it is young");
            age(&path.join("a"));
            assert!(remove_abandoned_tree(&path, false).unwrap());
            make();
        }
        assert!(remove_abandoned_tree(&path, true).unwrap());
        assert!(!remove_abandoned_tree(&path, true).unwrap());
        std::fs::write(&path, "a file").unwrap();
        assert!(!remove_abandoned_tree(&path, true).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        std::fs::write(&target, "precious").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let folder = directory.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [link, folder, socket, directory.path().join("nothing")] {
            assert!(!remove_abandoned(&path).unwrap(), "{}", path.display());
        }
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
    }
}
