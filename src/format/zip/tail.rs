//! The end of an archive: where the directory lies.
//!
//! ```text
//! end (22 bytes)            ZIP64 end (56)                ZIP64 locator (20)
//!  0 PK\5\6                  0 PK\6\6                      0 PK\6\7
//!  4 u16 this disk           4 u64 bytes that follow (44)  4 u32 disk of the ZIP64 end
//!  6 u16 directory's disk   12 u16 made by                 8 u64 offset of the ZIP64 end
//!  8 u16 entries here       14 u16 needed                 16 u32 disks
//! 10 u16 entries            16 u32 this disk
//! 12 u32 directory bytes    20 u32 directory's disk
//! 16 u32 directory offset   24 u64 entries here
//! 20 u16 comment bytes      32 u64 entries
//!                           40 u64 directory bytes
//!                           48 u64 directory offset
//! ```

use std::ops::Range;

use super::{END_SIGNATURE, MAX_DIRECTORY_BYTES};
use crate::format::cursor::Cursor;
use crate::format::{Flaw, read_vec};
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level};

/// The size of the end record without its comment.
const END_BYTES: u64 = 22;
/// The size of the ZIP64 locator.
const LOCATOR_BYTES: u64 = 20;
/// The size of the ZIP64 end record without its extensible data, which nobody writes.
const ZIP64_END_BYTES: u64 = 56;
/// The end record is looked for this far before the end of the file: a comment has at most 65,535 bytes.
const SEARCH_BYTES: u64 = END_BYTES + 65_535;

/// Where the directory lies, agreed on by all the records that say so.
#[derive(Debug)]
pub(super) struct Tail {
    /// Where the directory lies: right before the end records.
    pub(super) directory: Range<u64>,
    /// The number of entries that the end record counts.
    pub(super) entries: u64,
    /// The length of the comment at the very end.
    pub(super) comment_bytes: u64,
    /// The ZIP64 end record, where there is one.
    pub(super) zip64: Option<Zip64End>,
    /// The old end record points to the ZIP64 record for a value that it could hold itself.
    pub(super) defers_needlessly: bool,
}

/// What the ZIP64 end record says beyond the old one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zip64End {
    /// Where it begins.
    pub(super) at: u64,
    /// The version of the writer.
    pub(super) made_by: u16,
    /// The version that a reader needs.
    pub(super) needed: u16,
}

/// What one of the two end records says.
#[derive(Clone, Copy, Debug)]
struct Summary {
    disks: [u64; 2],
    entries_here: u64,
    entries: u64,
    bytes: u64,
    offset: u64,
}

impl Tail {
    /// Finds the directory from the end of the file on.
    ///
    /// # Errors
    ///
    /// No end record whose comment reaches exactly to the end of the file, end records that disagree, or
    /// bytes that belong to nothing. An archive within an archive, or before one, is told by those.
    pub(super) fn find(source: &dyn ReadAt) -> Result<Self, Flaw> {
        let (end_at, summary, comment_bytes) = find_end(source)?;
        // A directory that ends at the end record leaves no room for ZIP64 records: what looks like
        // one there is part of a name.
        let adjacent = summary.offset.checked_add(summary.bytes) == Some(end_at);
        let zip64 = if adjacent { None } else { read_zip64(source, end_at)? };
        let (summary, zip64, directory_end, defers_needlessly) = match zip64 {
            Some((zip64, wide)) => {
                let needlessly = agree(&summary, &wide, end_at)?;
                (wide, Some(zip64), zip64.at, needlessly)
            }
            None => (summary, None, end_at, false),
        };
        check_disks(&summary, end_at)?;
        let end = summary.offset.checked_add(summary.bytes);
        if end != Some(directory_end) {
            return Err(misplaced(&summary, directory_end).into());
        }
        Ok(Self {
            directory: summary.offset..directory_end,
            entries: summary.entries,
            comment_bytes,
            zip64,
            defers_needlessly,
        })
    }

    /// Reads the directory's bytes, up to a limit: it is all held in memory.
    pub(super) fn read_directory(&self, source: &dyn ReadAt) -> Result<Vec<u8>, Flaw> {
        let bytes = self.directory.end - self.directory.start;
        if bytes > MAX_DIRECTORY_BYTES {
            let message = format!("the ZIP directory has {bytes} bytes; the limit is {MAX_DIRECTORY_BYTES}");
            return Err(Finding::incompatible(Code::TooComplex, Level::Container, message)
                .at_offset(self.directory.start)
                .into());
        }
        Ok(read_vec(source, self.directory.clone())?)
    }
}

/// Finds the end record: its comment must reach exactly to the end of the file.
fn find_end(source: &dyn ReadAt) -> Result<(u64, Summary, u64), Flaw> {
    let len = source.len();
    let start = len.saturating_sub(SEARCH_BYTES);
    let bytes = read_vec(source, start..len)?;
    let mut nearest = None;
    for at in positions_from_the_end(&bytes) {
        let Some((summary, comment)) = bytes.get(at..).and_then(parse_end) else { continue };
        let end_at = start + at as u64;
        if end_at + END_BYTES + comment == len {
            return Ok((end_at, summary, comment));
        }
        nearest = nearest.or(Some((end_at, end_at + END_BYTES + comment)));
    }
    Err(match nearest {
        Some((end_at, end)) if end < len => stray_tail(end_at, end, len),
        _ => Finding::corrupted(
            Code::DirectoryMissing,
            Level::Container,
            format!("the end of the ZIP archive is missing: the file is short or its end is overwritten ({len} bytes)"),
        ),
    }
    .into())
}

/// The finding for bytes behind the end record. Many readers pass them over, and what they hold nobody
/// checks.
fn stray_tail(end_at: u64, end: u64, len: u64) -> Finding {
    let message = format!("{} bytes follow the end of the ZIP archive", len - end);
    Finding::corrupted(Code::StrayBytes, Level::Container, message).at_offset(end.max(end_at))
}

/// Where the end record's signature stands, the last one first: a comment may hold the signature as well, and
/// then the last one whose comment fits is the end.
fn positions_from_the_end(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes
        .windows(END_SIGNATURE.len())
        .enumerate()
        .rev()
        .filter(|(_, window)| *window == END_SIGNATURE)
        .map(|(at, _)| at)
}

/// Reads the end record: its summary, and the length of its comment.
fn parse_end(bytes: &[u8]) -> Option<(Summary, u64)> {
    let mut fields = Cursor::new(bytes);
    fields.take(4)?;
    let disks = [u64::from(fields.u16()?), u64::from(fields.u16()?)];
    let entries_here = fields.u16()?.into();
    let entries = fields.u16()?.into();
    let bytes = fields.u32()?.into();
    let offset = fields.u32()?.into();
    let comment = fields.u16()?.into();
    Some((Summary { disks, entries_here, entries, bytes, offset }, comment))
}

/// Reads the ZIP64 records before the end record at `end_at`. `None` where there are none: the end record
/// then holds the facts itself.
fn read_zip64(source: &dyn ReadAt, end_at: u64) -> Result<Option<(Zip64End, Summary)>, Flaw> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) else { return Ok(None) };
    let locator = read_vec(source, locator_at..end_at)?;
    let mut fields = Cursor::new(&locator);
    if fields.take(4) != Some(b"PK\x06\x07") {
        return Ok(None);
    }
    let (disk, at, disks) = (fields.u32(), fields.u64(), fields.u32());
    let at = at.unwrap_or(u64::MAX);
    if disk != Some(0) || disks != Some(1) || at.checked_add(ZIP64_END_BYTES) != Some(locator_at) {
        return Err(damaged("the ZIP64 locator doesn't point at the record before it", locator_at).into());
    }
    let record = read_vec(source, at..locator_at)?;
    match parse_zip64(&record, at) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(damaged("the ZIP64 end record is malformed", at).into()),
    }
}

/// Reads the ZIP64 end record, whose length must be that of the version without extensible data.
fn parse_zip64(record: &[u8], at: u64) -> Option<(Zip64End, Summary)> {
    let mut fields = Cursor::new(record);
    if fields.take(4)? != b"PK\x06\x06" || fields.u64()? != ZIP64_END_BYTES - 12 {
        return None;
    }
    let (made_by, needed) = (fields.u16()?, fields.u16()?);
    let disks = [fields.u32()?.into(), fields.u32()?.into()];
    let summary = Summary {
        disks,
        entries_here: fields.u64()?,
        entries: fields.u64()?,
        bytes: fields.u64()?,
        offset: fields.u64()?,
    };
    Some((Zip64End { at, made_by, needed }, summary))
}

/// Each field of the old end record must say what the ZIP64 record says, or be the sign for "see there".
/// Returns whether that sign stands where the value itself could.
fn agree(old: &Summary, wide: &Summary, end_at: u64) -> Result<bool, Finding> {
    let pairs = [
        (old.entries_here, wide.entries_here, u64::from(u16::MAX)),
        (old.entries, wide.entries, u64::from(u16::MAX)),
        (old.bytes, wide.bytes, u64::from(u32::MAX)),
        (old.offset, wide.offset, u64::from(u32::MAX)),
        (old.disks[0], wide.disks[0], u64::from(u16::MAX)),
        (old.disks[1], wide.disks[1], u64::from(u16::MAX)),
    ];
    let mut needlessly = false;
    for (narrow, wide, see_there) in pairs {
        needlessly |= narrow == see_there && wide < see_there;
        if narrow != wide && narrow != see_there {
            let message = format!("the archive's two end records disagree: {narrow} and {wide}");
            return Err(damaged(&message, end_at));
        }
    }
    Ok(needlessly)
}

/// An archive on several disks gives offsets from the beginning of each: its offsets would be read wrong
/// here.
fn check_disks(summary: &Summary, end_at: u64) -> Result<(), Finding> {
    if summary.disks != [0, 0] || summary.entries_here != summary.entries {
        return Err(damaged("the end record speaks of an archive on several disks", end_at));
    }
    Ok(())
}

/// The directory must end where the end records begin; else bytes lie between, or before the archive.
fn misplaced(summary: &Summary, directory_end: u64) -> Finding {
    let Summary { bytes, offset, .. } = *summary;
    match offset.checked_add(bytes) {
        Some(end) if end < directory_end => Finding::corrupted(
            Code::StrayBytes,
            Level::Container,
            format!(
                "{} bytes lie between the ZIP directory and its end record: there may be two archives in one file",
                directory_end - end
            ),
        )
        .at_offset(end),
        _ => damaged(
            &format!("the ZIP directory (offset {offset}, {bytes} bytes) reaches past its end record"),
            directory_end,
        ),
    }
}

/// The finding for end records that can't be believed.
fn damaged(message: &str, offset: u64) -> Finding {
    Finding::corrupted(Code::DirectoryDamaged, Level::Container, message).at_offset(offset)
}
