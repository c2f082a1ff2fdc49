//! Local headers without a directory: what is left of an archive that was cut, or whose directory is damaged.
//!
//! Nothing that is found here is believed: who uses it holds the data against its CRC-32.

use std::io;

use super::LOCAL_SIGNATURE;
use super::directory::find_extra;
use super::local::FIXED_BYTES;
use crate::format::cursor::Cursor;
use crate::format::read_vec;
use crate::io::ReadAt;

/// How much is searched for a signature at once, in bytes.
const SEARCH_BYTES: u64 = 1 << 20;
/// Behind a descriptor's signature stand the CRC-32 and two sizes of 4 or of 8 bytes.
const DESCRIPTOR_SIGNATURE: [u8; 4] = *b"PK\x07\x08";
/// The length of a descriptor with 64-bit sizes.
const DESCRIPTOR_BYTES: u64 = 24;

/// A record, as its local header tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    /// The name, with slashes.
    pub(crate) name: String,
    /// Where the data begins.
    pub(crate) data: u64,
    /// The size; `None` where it stands behind the data only.
    pub(crate) size: Option<u64>,
    /// The CRC-32; `None` where it stands behind the data only, or nowhere.
    pub(crate) crc32: Option<u32>,
    /// Whether the data is stored as it is.
    pub(crate) is_stored: bool,
}

/// Reads the local header at a place, if there is one.
pub(crate) fn header_at(source: &dyn ReadAt, at: u64) -> io::Result<Option<Stray>> {
    let end = at.saturating_add(FIXED_BYTES);
    if end > source.len() {
        return Ok(None);
    }
    let fixed = read_vec(source, at..end)?;
    let mut cursor = Cursor::new(&fixed);
    if cursor.take(4) != Some(&LOCAL_SIGNATURE) {
        return Ok(None);
    }
    let fields = (|| {
        cursor.take(2)?;
        let (flags, method) = (cursor.u16()?, cursor.u16()?);
        cursor.take(4)?;
        let (crc32, stored, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        Some((flags, method, crc32, stored, size, cursor.u16()?, cursor.u16()?))
    })();
    let Some((flags, method, crc32, stored, size, name_bytes, extra_bytes)) = fields else { return Ok(None) };
    let name_end = end + u64::from(name_bytes);
    let data = name_end + u64::from(extra_bytes);
    if data > source.len() {
        return Ok(None);
    }
    let Ok(name) = String::from_utf8(read_vec(source, end..name_end)?) else { return Ok(None) };
    let extra = read_vec(source, name_end..data)?;
    let is_deferred = flags & 0x0008 != 0;
    let wide = find_extra(&extra, 1).ok().flatten().and_then(|zip64| Cursor::new(zip64).u64());
    let size = if size == u32::MAX { wide } else { Some(size.into()) };
    let is_known = !(is_deferred && (size == Some(0) || crc32 == 0));
    let is_stored = method == 0 && (stored == u32::MAX || size == Some(stored.into()));
    Ok(Some(Stray {
        name,
        data,
        size: size.filter(|_| is_known),
        crc32: Some(crc32).filter(|crc32| is_known && (*crc32 != 0 || size == Some(0))),
        is_stored,
    }))
}

/// Finds the next local header of a record in a folder, from a place on.
pub(crate) fn next_header(source: &dyn ReadAt, from: u64, folder: &str) -> io::Result<Option<u64>> {
    let mut at = from;
    while at < source.len() {
        let end = source.len().min(at.saturating_add(SEARCH_BYTES));
        let bytes = read_vec(source, at..end)?;
        let mut places = bytes.windows(4).enumerate().filter(|(_, four)| **four == LOCAL_SIGNATURE);
        let found = places.find_map(|(place, _)| match header_at(source, at + place as u64) {
            Ok(Some(header)) if header.name.starts_with(folder) => Some(Ok(at + place as u64)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        if let Some(found) = found {
            return found.map(Some);
        }
        if end == source.len() {
            break;
        }
        // A signature may lie across the end of what was searched.
        at = end - 3;
    }
    Ok(None)
}

/// Reads the CRC-32 from the descriptor behind the data of a record of this size.
pub(crate) fn descriptor_at(source: &dyn ReadAt, at: u64, size: u64) -> io::Result<Option<u32>> {
    if at >= source.len() {
        return Ok(None);
    }
    let bytes = read_vec(source, at..source.len().min(at.saturating_add(DESCRIPTOR_BYTES)))?;
    let Some(fields) = bytes.strip_prefix(&DESCRIPTOR_SIGNATURE) else { return Ok(None) };
    let (mut narrow, mut wide) = (Cursor::new(fields), Cursor::new(fields));
    let (crc32, _) = (narrow.u32(), wide.u32());
    let narrow = (narrow.u32().map(u64::from), narrow.u32().map(u64::from));
    let wide = (wide.u64(), wide.u64());
    let fits = [narrow, wide].contains(&(Some(size), Some(size)));
    Ok(crc32.filter(|crc32| fits && (*crc32 != 0 || size == 0)))
}
