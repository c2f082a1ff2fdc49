use std::io;

use proptest::prelude::*;

use super::*;
use crate::digest::Crc32;
use crate::format::zip::Archive;
use crate::io::ReadAt;
use crate::record::BLOCK_BYTES;

/// A file of which only the headers are in memory; all else is zeros.
struct Sparse {
    parts: Vec<(u64, Vec<u8>)>,
    len: u64,
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        let end = offset + buffer.len() as u64;
        let first = self.parts.partition_point(|(at, bytes)| at + bytes.len() as u64 <= offset);
        for (at, bytes) in self.parts[first..].iter().take_while(|(at, _)| *at < end) {
            let start = offset.max(*at);
            let end = end.min(at + bytes.len() as u64);
            if start < end {
                let place = |from: u64| usize::try_from(from).unwrap();
                let part = &bytes[place(start - at)..place(end - at)];
                buffer[place(start - offset)..place(end - offset)].copy_from_slice(part);
            }
        }
        Ok(())
    }
}

/// Lays out records of these sizes, with a checksum that is made up.
fn archive(sizes: &[u64]) -> (Vec<Record>, Sparse) {
    let mut at = 0;
    let mut parts = Vec::new();
    let mut records = Vec::new();
    for (number, &size) in sizes.iter().enumerate() {
        let record = Record::place(format!("archive/data/{number}"), size, at).unwrap();
        parts.push((at, record.local_header(7)));
        assert_eq!(at + parts.last().unwrap().1.len() as u64, record.data().start);
        at = record.data().end;
        records.push(record);
    }
    let end = directory(records.iter().map(|record| (record, 7)), at);
    let len = at + end.len() as u64;
    parts.push((at, end));
    (records, Sparse { parts, len })
}

#[track_caller]
fn check(sizes: &[u64]) -> (Vec<Record>, Sparse) {
    let (records, file) = archive(sizes);
    let read = Archive::open(&file).unwrap_or_else(|flaw| panic!("{flaw}"));
    assert!(!read.by_torch);
    assert_eq!(read.entries.len(), sizes.len());
    for (entry, record) in read.entries.iter().zip(&records) {
        assert_eq!((entry.data.clone(), entry.header), (record.data(), record.header()));
        assert_eq!(entry.crc32, Some(7));
        let alignment = if entry.size > SMALL_BYTES { 4096 } else { 64 };
        assert_eq!(entry.data.start % alignment, 0);
        let in_one_window = entry.data.start / BLOCK_BYTES == entry.data.end.saturating_sub(1) / BLOCK_BYTES;
        assert!(entry.size > SMALL_BYTES || entry.size == 0 || in_one_window, "{entry:?}");
    }
    (records, file)
}

#[test]
fn records_beyond_four_gibibytes_have_wide_fields() {
    let limit = u64::from(u32::MAX);
    let (_, file) = check(&[5 << 30, 0, 70_000, limit, limit - 1, 1 << 40, 3]);
    let end = &file.parts.last().unwrap().1;
    assert!(end.windows(4).any(|window| window == b"PK\x06\x06"));
    // Below the limits nothing is wide.
    let (_, file) = check(&[1, 2, 3]);
    assert!(!file.parts.iter().any(|(_, bytes)| bytes.windows(4).any(|window| window == b"PK\x06\x07")));
}

/// The header of a record that isn't wide itself lies beyond 4 GiB, or just before.
#[test]
fn offsets_around_four_gibibytes() {
    for size in (u64::from(u32::MAX) - 8_300..u64::from(u32::MAX) + 50).step_by(61) {
        check(&[size, 5, 9]);
    }
}

#[test]
fn more_entries_than_a_short_field_counts() {
    let (_, file) = check(&vec![0; 65_534]);
    assert!(!file.parts.last().unwrap().1.windows(4).any(|window| window == b"PK\x06\x06"));
    let (_, file) = check(&vec![0; 65_535]);
    assert!(file.parts.last().unwrap().1.windows(4).any(|window| window == b"PK\x06\x06"));
}

#[test]
fn a_file_beyond_64_bits_has_no_place() {
    assert_eq!(Record::place("a".into(), u64::MAX, 0), None);
    assert_eq!(Record::place("a".into(), 1, u64::MAX - 10), None);
}

proptest! {
    #[test]
    fn every_size_finds_its_place(sizes in prop::collection::vec(
        prop_oneof![0..200_u64, 30_000..40_000_u64, 0..9_000_000_u64], 1..40))
    {
        check(&sizes);
    }

    /// Small records around the end of a window, in steps of one byte.
    #[test]
    fn small_records_lie_in_one_window(before in BLOCK_BYTES - 70_000..BLOCK_BYTES + 100, size in 0..=SMALL_BYTES) {
        check(&[before, size, size]);
    }
}

#[test]
fn the_field_s_reader_takes_it() {
    let data = [b"one".to_vec(), vec![7; 40_000], Vec::new()];
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    for (number, data) in data.iter().enumerate() {
        let record = Record::place(format!("a/{number}"), data.len() as u64, bytes.len() as u64).unwrap();
        bytes.extend(record.local_header(Crc32::of(data).value()));
        bytes.extend(data);
        records.push((record, Crc32::of(data).value()));
    }
    let end = directory(records.iter().map(|(record, crc32)| (record, *crc32)), bytes.len() as u64);
    bytes.extend(end);
    let mut read = zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
    for (number, data) in data.iter().enumerate() {
        let mut content = Vec::new();
        io::Read::read_to_end(&mut read.by_name(&format!("a/{number}")).unwrap(), &mut content).unwrap();
        assert_eq!(&content, data);
    }
}
