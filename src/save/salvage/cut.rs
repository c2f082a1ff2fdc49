//! The header of a safetensors file whose data was cut off.

use std::collections::HashMap;
use std::io;

use serde::Deserialize;

use crate::format::safetensors::{Header, MAX_HEADER_BYTES, read_header};
use crate::format::{Flaw, read_vec};
use crate::io::ReadAt;

/// The bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;

/// A file that is said to be as long as its header asks for. Beyond its real end there is nothing to read.
struct Claimed<'a> {
    source: &'a dyn ReadAt,
    len: u64,
}

impl ReadAt for Claimed<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.source.read_exact_at(buffer, offset)
    }
}

/// What of a header says how long the data is.
#[derive(Deserialize)]
struct Extent {
    #[serde(default)]
    data_offsets: Option<(u64, u64)>,
}

/// Reads a header whether or not the file is as long as it says. Each tensor has to be held against the file's
/// real length.
///
/// # Errors
///
/// The header itself is damaged, or cut.
pub(super) fn read(source: &dyn ReadAt) -> Result<Header, Flaw> {
    match read_header(source) {
        Err(Flaw::Found(finding)) => match claimed_len(source)? {
            Some(len) if len != source.len() => read_header(&Claimed { source, len }),
            _ => Err(Flaw::Found(finding)),
        },
        read => read,
    }
}

/// Returns how long the file would be if it were whole; `None` where the header doesn't say.
fn claimed_len(source: &dyn ReadAt) -> io::Result<Option<u64>> {
    if source.len() < LENGTH_BYTES {
        return Ok(None);
    }
    let mut length = [0; 8];
    source.read_exact_at(&mut length, 0)?;
    let length = u64::from_le_bytes(length);
    let start = LENGTH_BYTES.saturating_add(length);
    if length > MAX_HEADER_BYTES || start > source.len() {
        return Ok(None);
    }
    let text = read_vec(source, LENGTH_BYTES..start)?;
    let Ok(extents) = serde_json::from_slice::<HashMap<String, Extent>>(&text) else { return Ok(None) };
    let ends = extents.values().filter_map(|extent| Some(extent.data_offsets?.1));
    Ok(start.checked_add(ends.max().unwrap_or_default()))
}
