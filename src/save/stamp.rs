//! What tells one state of a checkpoint from another without reading it.

use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Error;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::validate::parts;

/// Digests names, sizes, times of modification and inodes of a checkpoint's files.
///
/// The inode is in it for what is put in a file's place with its size and its time: a copy from elsewhere
/// was never read here.
///
/// # Errors
///
/// The files can't be listed or looked at; a stamp that leaves one out would be that of another checkpoint.
pub(super) fn stamp(path: &Path) -> Result<Digest, Error> {
    let mut hasher = Hasher::new(Algorithm::Crc64Nvme);
    for part in parts(path)?.files {
        let failed = |error| Error::io(&part.path, "look at it", error);
        let metadata = std::fs::metadata(&part.path).map_err(failed)?;
        let name = part.path.file_name().unwrap_or_default().as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(&metadata.len().to_le_bytes());
        hasher.update(&modified(&metadata).to_le_bytes());
        hasher.update(&inode(&metadata).to_le_bytes());
    }
    Ok(hasher.finish())
}

/// Returns the time of modification in nanoseconds, before 1970 as well; 0 where the system has none.
fn modified(metadata: &Metadata) -> i128 {
    let Ok(time) = metadata.modified() else { return 0 };
    let nanoseconds = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => nanoseconds(since),
        Err(error) => -nanoseconds(error.duration()),
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn size_time_and_place_tell_files_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pt");
        fs::write(&path, b"abc").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let set_time = |path: &Path, time| File::options().write(true).open(path).unwrap().set_modified(time);
        set_time(&path, time).unwrap();
        let first = stamp(&path).unwrap();
        assert_eq!(stamp(&path).unwrap(), first);

        fs::write(&path, b"abcd").unwrap();
        set_time(&path, time).unwrap();
        let longer = stamp(&path).unwrap();
        set_time(&path, time - Duration::from_hours(48)).unwrap();
        let older = stamp(&path).unwrap();
        let other = directory.path().join("other");
        fs::write(&other, b"abc").unwrap();
        set_time(&other, time).unwrap();
        fs::rename(&other, &path).unwrap();
        let moved = stamp(&path).unwrap();
        let all = [first, longer, older, moved];
        assert!(all.iter().enumerate().all(|(at, one)| !all[..at].contains(one)), "{all:?}");
        fs::remove_file(&path).unwrap();
        assert!(stamp(&path).is_err());
    }

    #[test]
    fn a_shard_is_part_of_its_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let index = directory.path().join("model.safetensors.index.json");
        fs::write(&index, r#"{"weight_map": {"a": "x.safetensors"}}"#).unwrap();
        assert!(stamp(&index).is_err(), "a missing shard is no state to remember");
        fs::write(directory.path().join("x.safetensors"), b"1").unwrap();
        let before = stamp(&index).unwrap();
        fs::write(directory.path().join("x.safetensors"), b"22").unwrap();
        assert_ne!(stamp(&index).unwrap(), before);
    }
}
