//! The central directory: the names, sizes and places of all entries.
//!
//! ```text
//!  0 PK\1\2           16 u32 CRC-32              34 u16 first disk
//!  4 u16 made by      20 u32 stored size         36 u16 internal attributes
//!  6 u16 needed       24 u32 size                38 u32 external attributes
//!  8 u16 flags        28 u16 name bytes          42 u32 offset of the local header
//! 10 u16 method       30 u16 extra bytes         46 name, extra, comment
//! 12 u32 time         32 u16 comment bytes
//! ```

use std::collections::HashMap;

use super::entry::{Entry, Method, RawFields};
use super::tail::Tail;
use crate::format::Flaw;
use crate::format::cursor::Cursor;
use crate::record::{Code, Finding, Level};

/// The smallest possible entry: what bounds the number of entries by the bytes that are there.
pub(super) const FIXED_BYTES: usize = 46;
/// The value of a 32-bit field whose real value stands in the ZIP64 extra field (APPNOTE 4.5.3).
const SEE_ZIP64: u32 = u32::MAX;
/// Bits 0, 6 and 13: encrypted, strongly encrypted, directory encrypted.
const ENCRYPTED: u16 = 0x2041;

/// Reads all entries of the directory's `bytes`. The number of entries comes from the bytes and is held
/// against the count of the end record: a count alone would let a short file ask for much memory.
///
/// An entry whose header and data can't lie before the directory is refused here, before anything is read at
/// the place that it names.
pub(super) fn parse(bytes: &[u8], tail: &Tail) -> Result<Vec<Entry>, Flaw> {
    let mut entries = Vec::with_capacity(bytes.len() / FIXED_BYTES);
    let mut cursor = Cursor::new(bytes);
    while !cursor.rest().is_empty() {
        let at = tail.directory.start + cursor.position() as u64;
        let entry = parse_entry(&mut cursor, at).map_err(|fault| fault.finding(at))?;
        if entry.header.saturating_add(entry.stored) > tail.directory.start {
            return Err(out_of_bounds(&entry, tail.directory.start).into());
        }
        entries.push(entry);
    }
    if entries.len() as u64 != tail.entries {
        let message = format!(
            "the ZIP directory has {} entries, its end record counts {}",
            entries.len(),
            tail.entries
        );
        return Err(Finding::corrupted(Code::DirectoryDamaged, Level::Container, message)
            .at_offset(tail.directory.start)
            .into());
    }
    Ok(entries)
}

/// What is wrong with one entry.
///
/// Kept apart from a finding so that parsing needs no offsets: [`Fault::finding`] adds the place.
enum Fault {
    /// The bytes are no entry, or end within one.
    Malformed(&'static str),
    /// The entry of this name is stored as it is, with two sizes.
    SizesDiffer(String, u64, u64),
}

impl Fault {
    /// Says what is wrong. A method or an encryption that nobody writes into checkpoints is no damage: the
    /// bytes may well be as they were written.
    fn finding(self, at: u64) -> Finding {
        let level = Level::Container;
        match self {
            Self::Malformed(what) => Finding::corrupted(
                Code::DirectoryDamaged,
                level,
                format!("the ZIP directory is malformed: {what}"),
            ),
            Self::SizesDiffer(name, stored, size) => Finding::corrupted(
                Code::HeaderDisagrees,
                level,
                format!("the entry is stored uncompressed, but has two sizes: {stored} and {size} bytes"),
            )
            .at_record(name),
        }
        .at_offset(at)
    }
}

/// Reads one entry. What its flags and its method say is looked at only when all of it could be read: bytes
/// that are no entry say nothing about encryption. `central` is where it begins in the file.
fn parse_entry(cursor: &mut Cursor<'_>, central: u64) -> Result<Entry, Fault> {
    let mut fixed = Cursor::new(cursor.take(FIXED_BYTES).ok_or(Fault::Malformed("it ends within an entry"))?);
    let fields = parse_fixed(&mut fixed).ok_or(Fault::Malformed("no entry where one should begin"))?;
    let name = cursor.take(fields.name_bytes).ok_or(Fault::Malformed("it ends within a name"))?;
    let extra = cursor.take(fields.extra_bytes).ok_or(Fault::Malformed("it ends within an extra field"))?;
    cursor.take(fields.comment_bytes).ok_or(Fault::Malformed("it ends within a comment"))?;
    let wide = widen(&fields, extra).ok_or(Fault::Malformed("a ZIP64 field doesn't fit"))?;
    let text = String::from_utf8_lossy(name).into_owned();
    if fields.method == 0 && fields.flags & ENCRYPTED == 0 && wide.stored != wide.size {
        return Err(Fault::SizesDiffer(text, wide.stored, wide.size));
    }
    // What can't be used is refused by `check_usable`, when the local headers have agreed.
    let method = if fields.method == 8 { Method::Deflated } else { Method::Stored };
    let odd_name = std::str::from_utf8(name).is_err().then(|| name.into());
    Ok(Entry {
        name: text,
        method,
        crc32: (fields.crc32 != 0 || wide.size == 0).then_some(fields.crc32),
        stored: wide.stored,
        size: wide.size,
        header: wide.header,
        central,
        data: 0..0,
        raw: RawFields { flags: fields.flags, method: fields.method, crc32: fields.crc32, odd_name },
    })
}

/// The fixed part of an entry, as it stands there.
struct Fixed {
    flags: u16,
    method: u16,
    crc32: u32,
    stored: u32,
    size: u32,
    name_bytes: usize,
    extra_bytes: usize,
    comment_bytes: usize,
    header: u32,
}

/// Reads the fixed part. `None` where it hasn't the signature, or begins on another disk.
fn parse_fixed(fields: &mut Cursor<'_>) -> Option<Fixed> {
    if fields.take(4)? != b"PK\x01\x02" {
        return None;
    }
    fields.take(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(4)?;
    let (crc32, stored, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let [name_bytes, extra_bytes, comment_bytes] =
        [fields.u16()?.into(), fields.u16()?.into(), fields.u16()?.into()];
    let first_disk = fields.u16()?;
    fields.take(6)?;
    let header = fields.u32()?;
    (first_disk == 0).then_some(Fixed {
        flags,
        method,
        crc32,
        stored,
        size,
        name_bytes,
        extra_bytes,
        comment_bytes,
        header,
    })
}

/// Sizes and offset of an entry, in bytes, wherever they stood.
struct Wide {
    stored: u64,
    size: u64,
    header: u64,
}

/// Takes from the ZIP64 extra field what the fixed fields only point to. `None` where it isn't there.
fn widen(fields: &Fixed, extra: &[u8]) -> Option<Wide> {
    let zip64 = find_extra(extra, 1).ok()?;
    let mut zip64 = Cursor::new(zip64.unwrap_or_default());
    let mut wide = |narrow: u32| if narrow == SEE_ZIP64 { zip64.u64() } else { Some(narrow.into()) };
    let size = wide(fields.size)?;
    let stored = wide(fields.stored)?;
    let header = wide(fields.header)?;
    Some(Wide { stored, size, header })
}

/// The extra fields of an entry don't fit into their area.
pub(super) struct MalformedExtra;

/// Finds an extra field by its id.
///
/// The content of an extra field follows its id and its length, two bytes each (APPNOTE 4.5.1). An id that is
/// there twice is malformed: readers differ in which of the two they take.
pub(super) fn find_extra(extra: &[u8], wanted: u16) -> Result<Option<&[u8]>, MalformedExtra> {
    let mut cursor = Cursor::new(extra);
    let mut found = None;
    while !cursor.rest().is_empty() {
        let (Some(id), Some(length)) = (cursor.u16(), cursor.u16()) else { return Err(MalformedExtra) };
        let content = cursor.take(length.into()).ok_or(MalformedExtra)?;
        // Of two, one reader would take the first and another the last.
        if id == wanted && found.replace(content).is_some() {
            return Err(MalformedExtra);
        }
    }
    Ok(found)
}

/// Refuses entries that no reader of checkpoints can use.
///
/// Comes after the local headers were compared: where they say otherwise, this isn't another kind of
/// archive, but a damaged byte.
pub(super) fn check_usable(entries: &[Entry]) -> Result<(), Finding> {
    let finding = |code, message: String| Finding::incompatible(code, Level::Container, message);
    for entry in entries {
        let finding = if entry.raw.odd_name.is_some() {
            finding(
                Code::ForeignFormat,
                "the entry's name is no UTF-8: no checkpoint writer makes such".to_owned(),
            )
        } else if entry.raw.flags & ENCRYPTED != 0 {
            finding(Code::Encrypted, "the entry is encrypted".to_owned())
        } else if !matches!(entry.raw.method, 0 | 8) {
            let message = format!(
                "the entry is compressed with method {}; checkpoints are stored or deflated",
                entry.raw.method
            );
            finding(Code::UnsupportedMethod, message)
        } else {
            continue;
        };
        return Err(finding.at_record(&entry.name).at_offset(entry.header));
    }
    Ok(())
}

/// Refuses names that two readers could take for one another: PyTorch's reader ignores case.
pub(super) fn check_names(entries: &[Entry]) -> Result<(), Finding> {
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let Some(first) = seen.insert(entry.name.to_ascii_lowercase(), &entry.name) else { continue };
        let message = if first == entry.name {
            "two entries have this name: readers differ in which one they take".to_owned()
        } else {
            format!("the entry '{first}' differs from it only in case: readers differ in which one they take")
        };
        return Err(Finding::incompatible(Code::Ambiguous, Level::Container, message).at_record(&entry.name));
    }
    Ok(())
}

/// The finding for an entry that can't lie where it says. `limit` is where the directory begins.
fn out_of_bounds(entry: &Entry, limit: u64) -> Finding {
    let message = format!(
        "the entry's {} bytes from offset {} on reach past the archive's data, which ends at {limit}",
        entry.stored, entry.header
    );
    Finding::corrupted(Code::EntryOutOfBounds, Level::Container, message)
        .at_record(&entry.name)
        .at_offset(entry.header)
}
