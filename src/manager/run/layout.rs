//! The file that says how a run is laid out.

use std::io;
use std::path::Path;

use serde_json::{Map, Value};

use crate::Error;
use crate::io::commit::{Disk, Durability, write_small};

/// The file's name.
pub(super) const NAME: &str = "ckpt.json";

/// The layout that is written now.
const LAYOUT: u64 = 1;

/// The file is far smaller than this, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Reads the layout of a run, and returns whether it says one: a run that nothing was saved to has no file.
///
/// # Errors
///
/// The layout is a later one, or the file is damaged or can't be read.
pub(super) fn check(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    let failed = |error| Error::io(path, "read the layout of the run", error);
    match disk.stat(path).map_err(failed)? {
        None => return Ok(false),
        Some(stat) if !stat.is_file => return Err(failed(io::ErrorKind::InvalidInput.into())),
        Some(_) => {}
    }
    let text = disk.read(path, MAX_BYTES).map_err(failed)?;
    let Some(layout) = layout_of(&text) else {
        let message =
            format!("it isn't the layout of a run, or damaged: write {{\"layout\":{LAYOUT}}} into it");
        return Err(Error::usage(message).at(path));
    };
    if layout > LAYOUT {
        let message = format!(
            "the run has layout {layout}, and this version of ckpt knows {LAYOUT}: upgrade ckpt to use the run"
        );
        return Err(Error::usage(message).at(path));
    }
    Ok(true)
}

/// Returns the version that a text says. Later versions may say more.
fn layout_of(text: &[u8]) -> Option<u64> {
    let object: Map<String, Value> = serde_json::from_slice(text).ok()?;
    object.get("layout")?.as_u64()
}

/// Writes the layout of a new run.
///
/// # Errors
///
/// The file can't be written.
pub(super) fn write(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    write_small(disk, path, format!("{{\"layout\":{LAYOUT}}}\n").as_bytes(), Durability::Full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::commit::LocalDisk;

    #[test]
    fn a_later_layout_is_refused_and_so_is_nonsense() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        assert!(!check(&LocalDisk, &path).unwrap());
        write(&LocalDisk, &path).unwrap();
        assert!(check(&LocalDisk, &path).unwrap());
        for (text, expected) in [
            ("{\"layout\":2,\"x\":[]}", "upgrade"),
            ("{\"layout\":-1}", "damaged"),
            ("", "damaged"),
            ("[1]", "damaged"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = check(&LocalDisk, &path).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
