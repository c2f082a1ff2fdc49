//! The headers beside the data: a second copy of the directory's facts.
//!
//! ```text
//!  0 PK\3\4          10 u32 time            22 u32 size
//!  4 u16 needed      14 u32 CRC-32          26 u16 name bytes
//!  6 u16 flags       18 u32 stored size     28 u16 extra bytes
//!  8 u16 method                             30 name, extra, data
//! ```
//!
//! Behind the data, where general purpose bit 3 is set, a descriptor repeats CRC-32 and sizes:
//! an optional `PK\7\8`, then three fields of 4, 4 and 4 or of 4, 8 and 8 bytes. PyTorch writes none
//! after an empty record.

use std::ops::Range;

use super::directory::find_extra;
use super::entry::Entry;
use super::near::Near;
use crate::format::Flaw;
use crate::format::cursor::Cursor;
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level};

/// The size of a local header without its name and its extra field.
pub(super) const FIXED_BYTES: u64 = 30;
/// The size of a descriptor with its signature and 64-bit sizes.
const LONGEST_DESCRIPTOR: u64 = 24;

/// A local header as it stands in the file.
#[derive(Debug)]
pub(super) struct Header {
    /// The fixed part, the name, the extra field.
    pub(super) bytes: Vec<u8>,
    /// The range behind the data that is left for a descriptor.
    pub(super) descriptor: Range<u64>,
    /// What stands there.
    pub(super) descriptor_bytes: Vec<u8>,
    name_bytes: usize,
}

impl Header {
    /// Returns the extra field: the ZIP64 sizes, and PyTorch's padding.
    pub(super) fn extra(&self) -> &[u8] {
        self.bytes.get(30 + self.name_bytes..).unwrap_or_default()
    }
}

/// Reads the header of each entry, sets where its data lies, and checks that headers, data and
/// descriptors fill the archive up to `limit` without overlap and without a gap.
pub(super) fn read_all(source: &dyn ReadAt, entries: &mut [Entry], limit: u64) -> Result<Vec<Header>, Flaw> {
    let starts = starts_of_the_next(entries, limit)?;
    let mut headers = Vec::with_capacity(entries.len());
    let mut near = Near::new(source);
    for (entry, &next) in entries.iter_mut().zip(&starts) {
        headers.push(read_one(&mut near, entry, next)?);
    }
    Ok(headers)
}

/// For each entry, where the one behind it in the file begins.
fn starts_of_the_next(entries: &[Entry], limit: u64) -> Result<Vec<u64>, Finding> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&index| entries.get(index).map(|entry| entry.header));
    let mut starts = vec![limit; entries.len()];
    let mut behind = limit;
    for &index in order.iter().rev() {
        let (Some(entry), Some(start)) = (entries.get(index), starts.get_mut(index)) else { continue };
        if entry.header == behind && behind != limit {
            return Err(overlap(entry, behind));
        }
        *start = behind;
        behind = entry.header;
    }
    if behind != 0 {
        let message = format!("{behind} bytes lie before the first entry of the ZIP archive");
        return Err(Finding::corrupted(Code::StrayBytes, Level::Container, message).at_offset(0));
    }
    Ok(starts)
}

/// Reads the header of one entry; `next` is where the following one begins.
///
/// The directory's name and size are the truth. What the header says is held against them, and its own
/// lengths only say where the data begins; data that would reach beyond `next` is an overlap, as with the
/// "zip bomb" whose entries share their data.
fn read_one(source: &mut Near<'_>, entry: &mut Entry, next: u64) -> Result<Header, Flaw> {
    let expected = FIXED_BYTES + entry.name_bytes().len() as u64;
    let fixed = source.read(entry.header..entry.header.saturating_add(expected).min(next))?;
    let fields = parse(&fixed).ok_or_else(|| headerless(entry))?;
    let header_bytes = FIXED_BYTES + u64::from(fields.name_bytes) + u64::from(fields.extra_bytes);
    let data = entry.header + header_bytes;
    let end = data.saturating_add(entry.stored);
    if end > next {
        return Err(overlap(entry, next).into());
    }
    entry.data = data..end;
    if usize::from(fields.name_bytes) != entry.name_bytes().len()
        || fixed.get(30..) != Some(entry.name_bytes())
    {
        return Err(disagrees(entry, "the local header has another name").into());
    }
    let header = Header {
        bytes: source.read(entry.header..data)?,
        descriptor: end..next,
        descriptor_bytes: source.read(end..next.min(end + LONGEST_DESCRIPTOR))?,
        name_bytes: fields.name_bytes.into(),
    };
    compare(entry, &fields, header.extra()).map_err(|what| disagrees(entry, what))?;
    check_gap(entry, &header)?;
    Ok(header)
}

/// The fixed part of a local header that is held against the directory.
struct Fields {
    flags: u16,
    method: u16,
    crc32: u32,
    stored: u32,
    size: u32,
    name_bytes: u16,
    extra_bytes: u16,
}

/// Reads the fixed part. `None` where it hasn't the signature, or is cut off.
fn parse(bytes: &[u8]) -> Option<Fields> {
    let mut fields = Cursor::new(bytes);
    if fields.take(4)? != super::LOCAL_SIGNATURE {
        return None;
    }
    fields.take(2)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(4)?;
    Some(Fields {
        flags,
        method,
        crc32: fields.u32()?,
        stored: fields.u32()?,
        size: fields.u32()?,
        name_bytes: fields.u16()?,
        extra_bytes: fields.u16()?,
    })
}

/// With a descriptor behind the data the header may leave CRC-32 and sizes at 0; else they must be
/// the directory's.
fn compare(entry: &Entry, fields: &Fields, extra: &[u8]) -> Result<(), &'static str> {
    if fields.flags != entry.raw.flags {
        return Err("the local header has other flags");
    }
    if fields.method != entry.raw.method {
        return Err("the local header has another compression method");
    }
    let deferred = entry.has_descriptor();
    if fields.crc32 != entry.raw.crc32 && !(deferred && fields.crc32 == 0) {
        return Err("the local header has another checksum");
    }
    let zip64 = find_extra(extra, 1).map_err(|_| "the local header's extra field is malformed")?;
    let mut zip64 = Cursor::new(zip64.unwrap_or_default());
    let mut same = |narrow: u32, wanted: u64| {
        let wide = if narrow == u32::MAX { zip64.u64() } else { None };
        // PyTorch leaves a 0 even in the ZIP64 field of a record above 4 GiB.
        wide.unwrap_or(narrow.into()) == wanted || (deferred && matches!(wide.unwrap_or(narrow.into()), 0))
    };
    if !(same(fields.size, entry.size) && same(fields.stored, entry.stored)) {
        return Err("the local header has another size");
    }
    Ok(())
}

/// What lies between the data and the next entry must be this entry's descriptor, and nothing else.
fn check_gap(entry: &Entry, header: &Header) -> Result<(), Finding> {
    let gap = header.descriptor.end - header.descriptor.start;
    if gap == 0 && (!entry.has_descriptor() || entry.size == 0) {
        return Ok(());
    }
    if !entry.has_descriptor() || gap > LONGEST_DESCRIPTOR {
        let message = format!("{gap} bytes behind the entry belong to nothing");
        return Err(Finding::corrupted(Code::StrayBytes, Level::Container, message)
            .at_record(&entry.name)
            .at_offset(header.descriptor.start));
    }
    if !is_descriptor(entry, &header.descriptor_bytes) {
        return Err(disagrees(entry, "the descriptor behind the data has another checksum or size")
            .at_offset(header.descriptor.start));
    }
    Ok(())
}

/// Returns whether the bytes are this entry's descriptor, in one of the four forms. The signature is optional
/// (APPNOTE 4.3.9.3), and the length says which form it is: 12 and 20 bytes without it, 16 and 24 with it.
fn is_descriptor(entry: &Entry, bytes: &[u8]) -> bool {
    let fields = if bytes.len().is_multiple_of(8) {
        let Some(fields) = bytes.strip_prefix(b"PK\x07\x08") else { return false };
        fields
    } else {
        bytes
    };
    let mut cursor = Cursor::new(fields);
    let crc32 = cursor.u32();
    let (stored, size) = match fields.len() {
        12 => (cursor.u32().map(u64::from), cursor.u32().map(u64::from)),
        20 => (cursor.u64(), cursor.u64()),
        _ => return false,
    };
    crc32 == Some(entry.raw.crc32) && stored == Some(entry.stored) && size == Some(entry.size)
}

/// The finding for an entry that reaches into what begins at `next`.
fn overlap(entry: &Entry, next: u64) -> Finding {
    let message = format!("the entry's {} bytes reach into what begins at offset {next}", entry.stored);
    Finding::corrupted(Code::EntriesOverlap, Level::Container, message)
        .at_record(&entry.name)
        .at_offset(entry.header)
}

/// The finding for a place in the directory at which there is no header.
fn headerless(entry: &Entry) -> Finding {
    let message = "there is no local header where the ZIP directory says";
    Finding::corrupted(Code::HeaderDisagrees, Level::Container, message)
        .at_record(&entry.name)
        .at_offset(entry.header)
}

/// The finding for a copy that says something else. Readers differ in which copy they trust.
fn disagrees(entry: &Entry, what: &str) -> Finding {
    let message = format!("{what} than the ZIP directory");
    Finding::corrupted(Code::HeaderDisagrees, Level::Container, message)
        .at_record(&entry.name)
        .at_offset(entry.header)
}
