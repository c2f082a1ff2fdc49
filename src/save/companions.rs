//! What stands beside a file: its completion marker and its seal.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::names::beside;
use crate::Error;
use crate::record::Seal;

/// The longest marker or seal that is read: a seal has 64 bytes to each 4 MiB at most, so that those of files
/// of 32 TiB fit.
pub(super) const MAX_BYTES: u64 = 512 << 20;

/// Reads what stands beside a file under its name and a suffix; `None` where nothing does.
///
/// # Errors
///
/// It is there and can't be read, is no regular file, or is far too long for what it should be.
pub(super) fn read(path: &Path, suffix: &str) -> Result<Option<Vec<u8>>, Error> {
    let path = beside(path, suffix);
    read_small(&path).map_err(|error| Error::io(path, "read what stands beside the checkpoint", error))
}

/// Reads a seal; `None` where there is none.
///
/// # Errors
///
/// As [`read`], or it is no seal.
pub(super) fn read_seal(path: &Path) -> Result<Option<(Vec<u8>, Seal)>, Error> {
    let Some(text) = read(path, Seal::SUFFIX)? else { return Ok(None) };
    match Seal::parse(&text) {
        Some(seal) => Ok(Some((text, seal))),
        None => Err(Error::usage("it isn't a seal, or a damaged one").at(beside(path, Seal::SUFFIX))),
    }
}

/// Reads a small regular file. A FIFO isn't opened: that could hang.
fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_BYTES => {}
        Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a small regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(Some(text))
}
