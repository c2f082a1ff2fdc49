//! The exact layout of PyTorch's own writer.
//!
//! `torch.save` sets every unused field to one value and pads with `Z` (source: `PyTorchStreamWriter`
//! in `caffe2/serialize/inline_container.cc`, miniz). No reader looks at those bytes, so damage in
//! them harms nothing today; but it shows that the medium or the transfer damages bytes, and a proof
//! should leave no byte out.

use super::directory::find_extra;
use super::entry::{Entry, Method};
use super::local::Header;
use super::tail::Tail;
use crate::format::cursor::Cursor;
use crate::record::{Code, Finding, Level};

/// The id of the padding's extra field: "FB".
const PADDING_ID: u16 = u16::from_le_bytes(*b"FB");
/// What PyTorch fills the padding with.
const PADDING: u8 = b'Z';
/// What miniz writes into the ZIP64 end record: "made by" and "needed".
const ZIP64_VERSIONS: (u16, u16) = (0x031e, 45);

/// Returns whether PyTorch wrote the archive: more than half of the entries are padded its way, so
/// that no damage in one place decides.
pub(super) fn is_torch(headers: &[Header]) -> bool {
    let padded =
        headers.iter().filter(|header| matches!(find_extra(header.extra(), PADDING_ID), Ok(Some(_))));
    padded.count() * 2 > headers.len()
}

/// Holds every unused byte to PyTorch's value. Deflated entries are left out: somebody has zipped the archive
/// anew and kept some of the headers.
pub(super) fn check(
    tail: &Tail,
    entries: &[Entry],
    headers: &[Header],
    directory: &[u8],
) -> Result<(), Finding> {
    check_tail(tail)?;
    check_directory(tail, entries, directory)?;
    for (entry, header) in entries.iter().zip(headers) {
        if entry.method == Method::Stored && !is_header_exact(header) {
            return Err(damaged("an unused field or the padding of the local header", entry.header)
                .at_record(&entry.name));
        }
    }
    Ok(())
}

/// PyTorch writes no comment, and the ZIP64 records always, with the same two versions in them.
fn check_tail(tail: &Tail) -> Result<(), Finding> {
    let exact = tail.comment_bytes == 0
        && !tail.defers_needlessly
        && tail.zip64.is_none_or(|zip64| (zip64.made_by, zip64.needed) == ZIP64_VERSIONS);
    if exact { Ok(()) } else { Err(damaged("an unused field of the end records", tail.directory.end)) }
}

/// Holds the unused fields of each directory entry to zero.
fn check_directory(tail: &Tail, entries: &[Entry], directory: &[u8]) -> Result<(), Finding> {
    let mut cursor = Cursor::new(directory);
    for entry in entries {
        let at = tail.directory.start + cursor.position() as u64;
        let stored = entry.method == Method::Stored;
        if is_directory_entry_exact(&mut cursor).is_none_or(|exact| stored && !exact) {
            return Err(damaged("an unused field of the ZIP directory", at).at_record(&entry.name));
        }
    }
    Ok(())
}

/// Made by, needed, time, date, comment, attributes: all zero. `None` where the entry doesn't end.
fn is_directory_entry_exact(cursor: &mut Cursor<'_>) -> Option<bool> {
    cursor.take(4)?;
    let versions = cursor.u32()?;
    cursor.take(4)?;
    let time = cursor.u32()?;
    cursor.take(12)?;
    let (name, extra, comment) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    let (disk, attributes, more) = (cursor.u16()?, cursor.u32()?, cursor.u16()?);
    cursor.take(4)?;
    cursor.take(usize::from(name) + usize::from(extra) + usize::from(comment))?;
    Some(versions == 0 && time == 0 && comment == 0 && disk == 0 && attributes == 0 && more == 0)
}

/// PyTorch leaves everything but flags, method and name to the directory and the descriptor: checksum 0,
/// sizes 0 or, beyond 4 GiB, the sign for "see ZIP64".
fn is_header_exact(header: &Header) -> bool {
    let mut cursor = Cursor::new(&header.bytes);
    cursor.take(4);
    let needed = cursor.u16();
    cursor.take(4);
    let (time, crc32, stored, size) = (cursor.u32(), cursor.u32(), cursor.u32(), cursor.u32());
    let deferred = |size: Option<u32>| matches!(size, Some(0 | u32::MAX));
    needed == Some(0)
        && time == Some(0)
        && crc32 == Some(0)
        && deferred(stored)
        && deferred(size)
        && is_padding_exact(header.extra())
}

/// The extra area is an optional ZIP64 field and the padding, filled up with `Z`.
fn is_padding_exact(extra: &[u8]) -> bool {
    let mut cursor = Cursor::new(extra);
    while let (Some(id), Some(length)) = (cursor.u16(), cursor.u16()) {
        let Some(content) = cursor.take(length.into()) else { return false };
        match id {
            1 => {}
            PADDING_ID => return cursor.rest().is_empty() && content.iter().all(|&byte| byte == PADDING),
            _ => return false,
        }
    }
    false
}

/// The finding for a byte that PyTorch would have written otherwise.
fn damaged(what: &str, offset: u64) -> Finding {
    let message = format!("{what} has another value than PyTorch writes: at least one byte was changed");
    Finding::corrupted(Code::LayoutDamaged, Level::Container, message).at_offset(offset)
}
