//! What can't be used, and isn't thrown away.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::disk::{Disk, Existing};
use super::failure::{Step, failure};
use super::temporary::directory_of;
use crate::Error;

/// How many names are tried: those of one second are told apart by a number.
const MAX_NAMES: u32 = 1000;

/// Gives a file or a directory another name beside its own, so that something else may have that: `.corrupt-` and the
/// time behind it, `state.json.corrupt-20260301T120000Z`. It is durable, and nothing is ever replaced. Returns the new
/// path.
///
/// A symbolic link is followed: what it leads to gets the other name.
///
/// # Errors
///
/// It isn't there, or can't be renamed: it has its name then. Or that can't be made durable.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("state.json");
/// use ckpt::io::commit::{LocalDisk, set_aside};
///
/// std::fs::write(&path, "half of it")?;
/// let aside = set_aside(&LocalDisk, &path, "2026-03-01T12:00:00Z".parse()?)?;
/// assert!(aside.ends_with("state.json.corrupt-20260301T120000Z"));
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn set_aside(disk: &dyn Disk, path: &Path, now: Timestamp) -> Result<PathBuf, Error> {
    let resolved = disk.resolve(path).map_err(|error| failure(path, Step::Resolve, error))?;
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    for number in 1..=MAX_NAMES {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let aside = with_suffix(&resolved, &format!(".corrupt-{time}{number}"));
        match disk.rename(&resolved, &aside, Existing::Keep) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failure(path, Step::SetAside, error)),
            Ok(()) => {
                let synced = disk.sync_directory(directory_of(&aside));
                return synced.map(|()| aside).map_err(|error| failure(path, Step::SyncDirectory, error));
            }
        }
    }
    Err(failure(path, Step::SetAside, io::ErrorKind::AlreadyExists.into()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::LocalDisk;
    use super::*;

    #[test]
    fn what_is_set_aside_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        for (number, name) in
            ["20231114T221320Z", "20231114T221320Z-2", "20231114T221320Z-3"].into_iter().enumerate()
        {
            std::fs::write(&path, number.to_string()).unwrap();
            let aside = set_aside(&LocalDisk, &path, now).unwrap();
            assert_eq!(aside.file_name().unwrap().to_str().unwrap(), format!("state.corrupt-{name}"));
            assert_eq!(std::fs::read_to_string(aside).unwrap(), number.to_string());
            assert!(!path.exists());
        }
        let error = set_aside(&LocalDisk, &path, now).unwrap_err();
        assert!(error.to_string().contains("can't set it aside"), "{error}");
    }

    #[test]
    fn a_directory_goes_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shard");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), "1").unwrap();
        let aside = set_aside(&LocalDisk, &path, Timestamp::now()).unwrap();
        assert_eq!(std::fs::read(aside.join("a")).unwrap(), b"1");
    }
}
