//! Locks that say who holds them.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::disk::{Disk, Locked};

/// Takes the lock that a file stands for, in the name of this process: see [`Disk::lock`].
///
/// # Errors
///
/// The file can't be made or written. That somebody else holds the lock is no error, and a file system without
/// locks isn't one either.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("lock");
/// use ckpt::io::commit::{LocalDisk, Locked, take_lock};
///
/// let Locked::Ours(lock) = take_lock(&LocalDisk, &path, jiff::Timestamp::now())? else {
///     return Err("somebody else is at work".into());
/// };
/// assert!(std::fs::read_to_string(&path)?.starts_with("process "));
/// # drop(lock);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn take_lock(disk: &dyn Disk, path: &Path, now: Timestamp) -> io::Result<Locked> {
    take_lock_as(disk, path, now, None)
}

/// As [`take_lock`]; those who come second are told what the holder calls itself, as well.
///
/// # Errors
///
/// As [`take_lock`].
pub fn take_lock_as(
    disk: &dyn Disk,
    path: &Path,
    now: Timestamp,
    holder: Option<&str>,
) -> io::Result<Locked> {
    let holder =
        holder.map(|holder| format!(", {}", holder.replace(char::is_control, " "))).unwrap_or_default();
    disk.lock(path, &format!("process {}{}, since {now:.0}{holder}", std::process::id(), host()))
}

#[cfg(unix)]
fn host() -> String {
    format!(" on {}", rustix::system::uname().nodename().to_string_lossy())
}

#[cfg(not(unix))]
fn host() -> String {
    String::new()
}
