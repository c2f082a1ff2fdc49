use super::bytes::{Fields, SEE_ZIP64_SHORT, is_wide, narrow, short};
use super::record::{Record, VERSION_ZIP64};

/// The size of the ZIP64 end record behind its first two fields.
const ZIP64_END_REST: u64 = 44;

/// Returns the directory and the end records, which begin at `start`: right behind the last record.
///
/// Each record comes with its checksum.
pub(crate) fn directory<'a>(records: impl Iterator<Item = (&'a Record, u32)>, start: u64) -> Vec<u8> {
    let mut fields = Fields::default();
    let mut entries = 0;
    for (record, crc32) in records {
        record.directory_entry(crc32, &mut fields);
        entries += 1;
    }
    let bytes = fields.0.len() as u64;
    let needs_zip64 = short(entries) == SEE_ZIP64_SHORT || is_wide(bytes) || is_wide(start);
    if needs_zip64 {
        fields.raw(b"PK\x06\x06").wide(ZIP64_END_REST).short(VERSION_ZIP64).short(VERSION_ZIP64);
        fields.long(0).long(0).wide(entries).wide(entries).wide(bytes).wide(start);
        fields.raw(b"PK\x06\x07").long(0).wide(start + bytes).long(1);
    }
    fields.raw(&crate::format::zip::END_SIGNATURE).short(0).short(0).short(short(entries));
    fields.short(short(entries)).long(narrow(bytes)).long(narrow(start)).short(0);
    fields.0
}
