//! The names of temporary files, and the removal of those that nobody writes any more.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::disk::{Disk, DiskLock};

const PREFIX: &str = ".ckpt-";
const SUFFIX: &str = ".tmp";

/// How many hexadecimal digits are between them.
const DIGITS: usize = 16;

/// Returns whether a name is that of a temporary file: `.ckpt-`, 16 hexadecimal digits, `.tmp`.
///
/// Such a file is no checkpoint: it is being written, or was left behind by a process that was killed.
///
/// ```
/// use ckpt::io::commit::is_temporary;
///
/// assert!(is_temporary(".ckpt-0123456789abcdef.tmp".as_ref()));
/// assert!(!is_temporary("model.safetensors".as_ref()));
/// ```
pub fn is_temporary(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Makes a name that can't be foreseen, and owes nothing to the destination's, which may be as long as
/// names can be, or no text.
pub(super) fn temporary_name() -> String {
    // The hasher is keyed by the system's randomness. A forked process has the same keys: it goes its own
    // way by its number and the time.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    hasher.write_u128(time.as_nanos());
    format!("{PREFIX}{:016x}{SUFFIX}", hasher.finish())
}

/// Removes the temporary files in a directory whose writers are gone, and returns how many those were.
///
/// What can't be listed or removed stays: this is never a reason for a save to fail. Nor is it made
/// durable; a leftover that comes back after a power failure is removed the next time.
pub fn clean(disk: &dyn Disk, directory: &Path) -> usize {
    let names = disk.list(directory).unwrap_or_default();
    let ours = names.iter().filter(|name| is_temporary(name));
    ours.filter(|name| disk.remove_abandoned(&directory.join(name)).unwrap_or(false)).count()
}

/// As [`clean()`], in the directory of a file: of that which a symbolic link at `path` leads to.
pub fn clean_beside(disk: &dyn Disk, path: &Path) -> usize {
    let resolved = disk.resolve(path).ok();
    resolved.and_then(|path| Some(clean(disk, path.parent()?))).unwrap_or(0)
}

/// The file in a [`SharedDirectory`](super::SharedDirectory) whose lock is held by who will commit it.
pub(super) const SHARED_LOCK: &str = ".lock";

/// Removes the staged directories at a place, and returns how many those were: whoever holds `lock` is the only
/// one who stages there, and stages none yet. Where the lock isn't sure, the old ones. Those that have a lock of their
/// own are left to [`clean_shared`](super::clean_shared): other jobs may be filling them.
///
/// As with [`clean()`], what can't be listed or removed stays, and nothing is made durable.
pub fn clean_staged(disk: &dyn Disk, directory: &Path, lock: &dyn DiskLock) -> usize {
    let names = disk.list(directory).unwrap_or_default();
    let ours = names.iter().filter(|name| is_temporary(name));
    let remove = |name: &&OsString| -> io::Result<bool> {
        let path = directory.join(name);
        let is_shared = disk.stat(&path.join(SHARED_LOCK))?.is_some();
        if is_shared { Ok(false) } else { disk.remove_abandoned_tree(&path, lock.is_sure()) }
    };
    ours.filter(|name| remove(name).unwrap_or(false)).count()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_recognised() {
        let names: HashSet<_> = (0..1000).map(|_| temporary_name()).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| is_temporary(name.as_ref())));
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in [
            "",
            ".ckpt-.tmp",
            ".ckpt-0123456789abcde.tmp",
            ".ckpt-0123456789abcdef0.tmp",
            ".ckpt-0123456789ABCDEF.tmp",
            ".ckpt-0123456789abcdeg.tmp",
            ".ckpt-0123456789abcdef.tmp.done",
            "x.ckpt-0123456789abcdef.tmp",
            "ckpt-0123456789abcdef.tmp",
            ".ckpt-+123456789abcdef.tmp",
        ] {
            assert!(!is_temporary(name.as_ref()), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_are_not_ours() {
        use std::os::unix::ffi::OsStrExt;
        assert!(!is_temporary(OsStr::from_bytes(b".ckpt-0123456789abcde\xff.tmp")));
    }
}
