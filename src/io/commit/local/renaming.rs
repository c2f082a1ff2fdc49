//! Renaming, in one step, and without losing what has the name already.

use std::io;
use std::path::Path;

use super::names::{identity, remove};
use super::system;
use crate::io::commit::disk::Existing;

/// Renames a file or a directory.
///
/// A network file system may do it, lose the answer, ask again, and say that there is no such file. So a
/// failure is believed only if the new name doesn't belong to the file already.
pub(super) fn rename(from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
    let was = identity(&from.symlink_metadata()?);
    let renamed = match existing {
        Existing::Replace => replace(from, to),
        Existing::Keep => keep(from, to),
        Existing::Swap => system::swap(from, to),
    };
    renamed.or_else(|error| if is_done(from, to, was) { Ok(()) } else { Err(error) })
}

/// Returns whether `to` names the file that `from` named, and `from` nothing any more.
fn is_done(from: &Path, to: &Path, was: Option<(u64, u64)>) -> bool {
    let is_gone = from.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_gone && names(to, was)
}

fn names(path: &Path, file: Option<(u64, u64)>) -> bool {
    file.is_some() && path.symlink_metadata().is_ok_and(|metadata| identity(&metadata) == file)
}

#[expect(clippy::disallowed_methods, reason = "this is the place that renamings go through")]
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Renames unless something has that name.
fn keep(from: &Path, to: &Path) -> io::Result<()> {
    system::rename_and_keep(from, to).unwrap_or_else(|| link_and_remove(from, to))
}

/// Gives the file its second name, which fails if that is taken, and then takes the first away.
///
/// Where a file can't have two names, and a directory can't anywhere, it looks first: what comes in just that
/// moment is replaced, if it is a file or an empty directory.
fn link_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    let was = identity(&from.symlink_metadata()?);
    match std::fs::hard_link(from, to) {
        Ok(()) => remove(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if names(to, was) {
                remove(from)
            } else {
                Err(error)
            }
        }
        Err(error) if has_no_links(error.kind()) => match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => replace(from, to),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Returns whether an error may say that the file system gives a file one name only.
fn has_no_links(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::TooManyLinks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_system_call_a_file_of_that_name_stays_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        assert_eq!(link_and_remove(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&to).unwrap(), b"old");
        remove(&to).unwrap();
        link_and_remove(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
        assert!(!from.exists());
    }

    #[test]
    fn a_directory_is_renamed_unless_something_has_the_name() {
        for keep in [keep, link_and_remove] {
            let directory = tempfile::tempdir().unwrap();
            let (from, to) = (directory.path().join("from"), directory.path().join("to"));
            std::fs::create_dir(&from).unwrap();
            std::fs::write(from.join("a"), "new").unwrap();
            std::fs::create_dir(&to).unwrap();
            assert_eq!(keep(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            std::fs::remove_dir(&to).unwrap();
            std::fs::write(&to, "a file").unwrap();
            assert_eq!(keep(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            remove(&to).unwrap();
            keep(&from, &to).unwrap();
            assert_eq!(std::fs::read(to.join("a")).unwrap(), b"new");
            assert!(!from.exists());
        }
    }

    #[test]
    fn a_renaming_whose_answer_was_lost_counts() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        let was = identity(&from.symlink_metadata().unwrap());
        assert!(!is_done(&from, &to, was));
        std::fs::hard_link(&from, &to).unwrap();
        assert!(!is_done(&from, &to, was), "the first name is still there");
        // The link was made, and asking again says that the name is taken.
        link_and_remove(&from, &to).unwrap();
        assert!(is_done(&from, &to, was));
        std::fs::write(&from, "another").unwrap();
        remove(&to).unwrap();
        std::fs::rename(&from, &to).unwrap();
        assert!(!is_done(&from, &to, was), "the name belongs to another file");
    }
}
