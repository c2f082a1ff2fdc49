use super::bytes::{Fields, is_wide, narrow};
use crate::record::BLOCK_BYTES;

/// Records of more than this begin where a page does, so that they can be mapped and written in large
/// blocks. Smaller ones lie closer together, and each lies in one window of the file.
pub(crate) const SMALL_BYTES: u64 = 32 << 10;
/// Where large data may begin: at a page.
const LARGE_ALIGNMENT: u64 = 4096;
/// Where small data may begin: as PyTorch has it, and wide enough for any element.
const SMALL_ALIGNMENT: u64 = 64;

/// The size of a local header without its name and its extra area.
const LOCAL_BYTES: u64 = 30;
/// The ZIP64 field of a local header: id, length, size, stored size.
const LOCAL_ZIP64_BYTES: u64 = 20;
/// The id of the padding's extra field. PyTorch's own is "FB".
const PADDING_ID: u16 = u16::from_le_bytes(*b"CK");
/// An extra field has an id and a length: padding is none, or at least this long.
const LEAST_PADDING: u64 = 4;

/// The version that a reader needs (APPNOTE 4.4.3): 2.0, and 4.5 where there are ZIP64 fields.
pub(super) const VERSION: u16 = 20;
/// See [`VERSION`].
pub(super) const VERSION_ZIP64: u16 = 45;
/// 1 January 1980, the first day that the format can say: a real time would make two equal states two
/// different files, and a zero is no date.
const DATE: u16 = 0x0021;

/// A record with its place in the archive, stored as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The name, with slashes; ASCII, and short.
    name: String,
    /// The size in bytes.
    size: u64,
    /// Where the local header begins.
    header: u64,
    /// Where the data begins.
    data: u64,
}

impl Record {
    /// Finds the place of a record whose header begins at `header`, right behind what is before it.
    ///
    /// `None` where the file would be longer than 2⁶⁴ bytes.
    pub(crate) fn place(name: String, size: u64, header: u64) -> Option<Self> {
        let zip64 = if is_wide(size) { LOCAL_ZIP64_BYTES } else { 0 };
        let earliest = header.checked_add(LOCAL_BYTES + name.len() as u64 + zip64)?;
        let alignment = if size > SMALL_BYTES { LARGE_ALIGNMENT } else { SMALL_ALIGNMENT };
        let mut data = earliest.checked_next_multiple_of(alignment)?;
        if data != earliest && data - earliest < LEAST_PADDING {
            data = data.checked_add(alignment)?;
        }
        let end = data.checked_add(size)?;
        let next_window = data.checked_add(1)?.checked_next_multiple_of(BLOCK_BYTES)?;
        if size <= SMALL_BYTES && end > next_window {
            data = next_window;
        }
        data.checked_add(size)?;
        Some(Self { name, size, header, data })
    }

    /// Returns where the local header begins.
    pub(crate) fn header(&self) -> u64 {
        self.header
    }

    /// Returns where the data lies.
    pub(crate) fn data(&self) -> std::ops::Range<u64> {
        self.data..self.data + self.size
    }

    /// Returns the local header, which reaches up to the data.
    pub(crate) fn local_header(&self, crc32: u32) -> Vec<u8> {
        let wide = is_wide(self.size);
        let mut extra = Fields::default();
        if wide {
            extra.short(1).short(16).wide(self.size).wide(self.size);
        }
        let used = LOCAL_BYTES + (self.name.len() + extra.0.len()) as u64;
        if let Some(padding) = (self.data - self.header).checked_sub(used + LEAST_PADDING) {
            // Two alignments, or a small record's distance to the next window: far below 2¹⁶.
            extra.short(PADDING_ID).short(u16::try_from(padding).unwrap_or_default());
            extra.0.resize(extra.0.len() + usize::from(u16::try_from(padding).unwrap_or_default()), 0);
        }
        let mut fields = Fields::default();
        fields.raw(&crate::format::zip::LOCAL_SIGNATURE);
        fields.short(if wide { VERSION_ZIP64 } else { VERSION });
        self.common(&mut fields, crc32);
        fields.short(length(extra.0.len())).raw(self.name.as_bytes()).raw(&extra.0);
        fields.0
    }

    /// Appends the directory's entry.
    pub(super) fn directory_entry(&self, crc32: u32, fields: &mut Fields) {
        let mut zip64 = Fields::default();
        if is_wide(self.size) {
            zip64.wide(self.size).wide(self.size);
        }
        if is_wide(self.header) {
            zip64.wide(self.header);
        }
        let version = if zip64.0.is_empty() { VERSION } else { VERSION_ZIP64 };
        let extra = if zip64.0.is_empty() { 0 } else { 4 + zip64.0.len() };
        fields.raw(b"PK\x01\x02").short(version).short(version);
        self.common(fields, crc32);
        // No comment, the first disk, no attributes.
        fields.short(length(extra)).short(0).short(0).short(0).long(0).long(narrow(self.header));
        fields.raw(self.name.as_bytes());
        if extra > 0 {
            fields.short(1).short(length(zip64.0.len())).raw(&zip64.0);
        }
    }

    /// Appends what a local header and the directory's entry have in common: flags, method, time, date,
    /// checksum, both sizes, and the length of the name.
    fn common(&self, fields: &mut Fields, crc32: u32) {
        fields.short(0).short(0).short(0).short(DATE).long(crc32);
        fields.long(narrow(self.size)).long(narrow(self.size)).short(length(self.name.len()));
    }
}

/// Returns a length as it stands in a header. Names and extra areas are far shorter than the field allows.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}
