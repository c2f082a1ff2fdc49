//! Where a path leads, and which file has a name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The most symbolic links that are followed one after the other: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// Follows symbolic links to where a file is, or would be made.
///
/// The last link of a chain may lead to nothing yet: the directory must be there, the file need not.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        let Some(name) = path.file_name() else { return path.canonicalize() };
        let parent = parent(&path).canonicalize()?;
        if !parent.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let plain = parent.join(name);
        match plain.symlink_metadata() {
            // A relative target counts from the directory of its link.
            Ok(metadata) if metadata.is_symlink() => path = parent.join(plain.read_link()?),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(plain),
        }
    }
    Err(too_many_links())
}

/// Returns the directory of a path: the current one for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn too_many_links() -> io::Error {
    rustix::io::Errno::LOOP.into()
}

#[cfg(not(unix))]
fn too_many_links() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links")
}

/// Removes a file.
#[expect(clippy::disallowed_methods, reason = "this is the place that removals go through")]
pub(super) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

/// Removes a directory with all that is in it. No link is followed.
#[expect(clippy::disallowed_methods, reason = "this is the place that removals go through")]
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(path)
}

/// What tells one file from all others that are there: the numbers of device and inode. `None` where the
/// system has none.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
pub(super) fn identity(metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

/// What tells one file from all others that are there: not known here.
#[cfg(not(unix))]
pub(super) fn identity(_metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Returns whether the open file is the one that `path` names, or, where files can't be told apart, whether
/// there is one of that name.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(named) => Ok(identity(&named) == identity(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
