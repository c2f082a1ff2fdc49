//! Damaged shards, out of the way.

use std::path::Path;

use jiff::Timestamp;

use crate::Error;
use crate::io::commit::{self, Disk, remove_durably};
use crate::record::Marker;

/// Gives a damaged shard another name, and takes its completion marker away. Returns the new name; `None` where
/// another worker came first.
pub(super) fn set_aside(disk: &dyn Disk, path: &Path, now: Timestamp) -> Result<Option<String>, Error> {
    let aside = match commit::set_aside(disk, path, now) {
        Ok(aside) => aside,
        Err(error) => match disk.stat(path) {
            Ok(None) => return Ok(None),
            _ => return Err(error),
        },
    };
    // The other way round, a shard without a marker would be left where this is interrupted, and get another one.
    let mut marker = path.as_os_str().to_owned();
    marker.push(Marker::SUFFIX);
    remove_durably(disk, Path::new(&marker))?;
    Ok(aside.file_name().map(|name| name.to_string_lossy().into_owned()))
}
