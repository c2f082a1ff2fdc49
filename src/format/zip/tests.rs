//! Archives built byte by byte, each wrong in one place.

use std::io::{self, Write};
use std::ops::Range;

use super::*;
use crate::digest::Crc32;
use crate::record::{Code, Finding, Level, Verdict};

/// How an archive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Sizes and checksums in the local headers.
    Plain,
    /// As `torch.save` does: nothing in the local headers, padding, descriptors, ZIP64 end records.
    Torch,
}

/// An archive with the offsets of its parts, so that a test can change them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    /// Of each entry: its local header, its data, and its entry in the directory.
    local: Vec<usize>,
    data: Vec<Range<usize>>,
    central: Vec<usize>,
    directory: usize,
    /// The ZIP64 end record, or where the end record begins.
    ends: usize,
    end: usize,
}

struct Item<'a> {
    name: &'a [u8],
    content: &'a [u8],
    deflated: bool,
}

/// Writes an archive of stored entries.
pub(crate) fn zip(style: Style, entries: &[(&str, &[u8])]) -> Built {
    let items: Vec<_> = entries
        .iter()
        .map(|(name, content)| Item { name: name.as_bytes(), content, deflated: false })
        .collect();
    build(style, &items)
}

/// Writes an archive of deflated entries.
pub(crate) fn deflated(entries: &[(&str, &[u8])]) -> Built {
    let items: Vec<_> = entries
        .iter()
        .map(|(name, content)| Item { name: name.as_bytes(), content, deflated: true })
        .collect();
    build(Style::Plain, &items)
}

fn build(style: Style, items: &[Item<'_>]) -> Built {
    let mut built = Built::default();
    let mut directory = Vec::new();
    for item in items {
        let header = built.bytes.len();
        built.central.push(directory.len());
        let stored = if item.deflated { deflate(item.content) } else { item.content.to_vec() };
        built.add_entry(style, item, &stored);
        let facts = facts(item, &stored);
        let (versions, flags) = if style == Style::Torch { (0, 0x0808) } else { (0x0014_0314, 0) };
        directory.extend(b"PK\x01\x02");
        directory.extend(u32::to_le_bytes(versions));
        directory.extend(u16::to_le_bytes(flags));
        directory.extend(method(item));
        directory.extend([0; 4]);
        directory.extend(facts);
        directory.extend(length16(item.name));
        directory.extend([0; 12]);
        directory.extend(length32(&built.bytes[..header]));
        directory.extend(item.name);
    }
    built.directory = built.bytes.len();
    for at in &mut built.central {
        *at += built.directory;
    }
    built.bytes.extend(&directory);
    built.ends = built.bytes.len();
    built.add_ends(style, items.len(), directory.len());
    built
}

fn method(item: &Item<'_>) -> [u8; 2] {
    if item.deflated { [8, 0] } else { [0, 0] }
}

/// CRC-32, stored size, size.
fn facts(item: &Item<'_>, stored: &[u8]) -> Vec<u8> {
    let crc32 = Crc32::of(item.content).value().to_le_bytes();
    [crc32, length32(stored), length32(item.content)].concat()
}

fn length16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_le_bytes()
}

fn length32(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_le_bytes()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Built {
    fn add_entry(&mut self, style: Style, item: &Item<'_>, stored: &[u8]) {
        let at = self.bytes.len();
        self.local.push(at);
        let torch = style == Style::Torch;
        let (needed, flags) = if torch { (0_u16, 0x0808_u16) } else { (20, 0) };
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(needed.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(method(item));
        self.bytes.extend([0; 4]);
        self.bytes.extend(if torch { vec![0; 12] } else { facts(item, stored) });
        self.bytes.extend(length16(item.name));
        let padding = if torch { 64 - (at + 30 + item.name.len() + 4) % 64 } else { 0 };
        let extra = if torch {
            [&b"FB"[..], &u16::try_from(padding).unwrap().to_le_bytes(), &vec![b'Z'; padding]].concat()
        } else {
            Vec::new()
        };
        self.bytes.extend(length16(&extra));
        self.bytes.extend(item.name);
        self.bytes.extend(extra);
        self.data.push(self.bytes.len()..self.bytes.len() + stored.len());
        self.bytes.extend(stored);
        if torch && !stored.is_empty() {
            self.bytes.extend(b"PK\x07\x08");
            self.bytes.extend(facts(item, stored));
        }
    }

    fn add_ends(&mut self, style: Style, entries: usize, directory: usize) {
        if style == Style::Torch {
            let ends = zip64_ends(entries as u64, directory as u64, self.directory as u64);
            self.bytes.extend(ends);
        }
        self.end = self.bytes.len();
        let entries = u16::try_from(entries).unwrap().to_le_bytes();
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend([entries, entries].concat());
        self.bytes.extend(u32::try_from(directory).unwrap().to_le_bytes());
        self.bytes.extend(u32::try_from(self.directory).unwrap().to_le_bytes());
        self.bytes.extend([0; 2]);
    }

    /// Overwrites bytes.
    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Puts bytes in between, and moves what the end record says of the directory with them.
    fn insert(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes.splice(at..at, bytes.iter().copied());
        if at <= self.directory {
            self.directory += bytes.len();
            let offset = u32::try_from(self.directory).unwrap().to_le_bytes();
            let end = self.end + bytes.len();
            return self.put(end + 16, &offset);
        }
        self
    }
}

/// The ZIP64 end record and its locator.
fn zip64_ends(entries: u64, bytes: u64, offset: u64) -> Vec<u8> {
    let at = offset + bytes;
    let mut ends = b"PK\x06\x06".to_vec();
    ends.extend(44_u64.to_le_bytes());
    ends.extend([0x1e, 0x03, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    ends.extend([entries, entries, bytes, offset].map(u64::to_le_bytes).concat());
    ends.extend(b"PK\x06\x07\0\0\0\0");
    ends.extend(at.to_le_bytes());
    ends.extend([1, 0, 0, 0]);
    ends
}

const TWO: [(&str, &[u8]); 2] = [("a/data.pkl", b"first"), ("a/data/0", b"second entry")];

fn plain() -> Built {
    zip(Style::Plain, &TWO)
}

fn torch() -> Built {
    zip(Style::Torch, &TWO)
}

fn open(built: &Built) -> Archive {
    Archive::open(&built.bytes).unwrap_or_else(|flaw| panic!("{flaw}"))
}

fn refused(source: &dyn ReadAt) -> Finding {
    match Archive::open(source) {
        Err(Flaw::Found(finding)) => *finding,
        other => panic!("{other:?}"),
    }
}

/// Asserts that the archive is refused with this code, and that the message tells `word`.
#[track_caller]
fn refuses(built: &Built, code: Code, verdict: Verdict, word: &str) -> Finding {
    let finding = refused(&built.bytes);
    assert_eq!((finding.code, finding.verdict), (code, verdict), "{finding:?}");
    assert_eq!(finding.level, Level::Container);
    assert!(finding.message.contains(word), "'{word}' isn't in {finding:?}");
    finding
}

#[track_caller]
fn corrupted(built: &Built, code: Code, word: &str) -> Finding {
    refuses(built, code, Verdict::Corrupted, word)
}

fn at(finding: &Finding) -> (Option<usize>, Option<&str>) {
    (finding.at.offset.map(|at| usize::try_from(at).unwrap()), finding.at.record.as_deref())
}

#[test]
fn a_plain_archive_is_read() {
    let built = plain();
    let archive = open(&built);
    assert!(!archive.by_torch);
    for (entry, ((name, content), data)) in archive.entries.iter().zip(TWO.iter().zip(&built.data)) {
        assert_eq!(entry.name, *name);
        assert_eq!(entry.data, data.start as u64..data.end as u64);
        assert_eq!((entry.size, entry.stored), (content.len() as u64, content.len() as u64));
        assert_eq!(entry.crc32, Some(Crc32::of(content).value()));
        assert_eq!(entry.method, Method::Stored);
    }
    assert!(archive.entry("a/data/0").is_some() && archive.entry("a/data").is_none());
}

#[test]
fn an_archive_of_pytorchs_form_is_told() {
    let built = torch();
    let archive = open(&built);
    assert!(archive.by_torch);
    assert!(built.data.iter().all(|data| data.start % 64 == 0));
    assert_eq!(archive.entries[1].data, built.data[1].start as u64..built.data[1].end as u64);
}

#[test]
fn an_archive_without_entries_is_one() {
    assert!(open(&zip(Style::Plain, &[])).entries.is_empty());
    assert!(open(&zip(Style::Torch, &[])).entries.is_empty());
}

#[test]
fn folders_and_empty_entries_are_read() {
    let archive = open(&zip(Style::Plain, &[("a/", b""), ("a/b", b"")]));
    assert!(archive.entries[0].is_folder() && !archive.entries[1].is_folder());
    assert_eq!(archive.entries[1].crc32, Some(0));
    assert_eq!(open(&zip(Style::Torch, &[("a/b", b"")])).entries[0].size, 0);
}

#[test]
fn a_checksum_of_zero_is_none() {
    let built = plain();
    let (local, central) = (built.local[0], built.central[0]);
    let built = built.put(local + 14, &[0; 4]).put(central + 16, &[0; 4]);
    assert_eq!(open(&built).entries[0].crc32, None);
    // In one place only, it is damage.
    corrupted(&plain().put(central + 16, &[0; 4]), Code::HeaderDisagrees, "another checksum");
}

#[test]
fn every_length_is_refused() {
    for built in [plain(), torch()] {
        for length in 0..built.bytes.len() {
            let cut = Built { bytes: built.bytes[..length].to_vec(), ..built.clone() };
            let finding = refused(&cut.bytes);
            assert_eq!(finding.code, Code::DirectoryMissing, "{length}");
            assert_eq!(finding.verdict, Verdict::Corrupted);
        }
    }
}

// The end records.

#[test]
fn bytes_behind_the_end_are_stray() {
    let built = plain();
    let length = built.bytes.len();
    let finding = corrupted(&built.insert(length, b"xyz"), Code::StrayBytes, "3 bytes follow the end");
    assert_eq!(at(&finding), (Some(length), None));
}

#[test]
fn bytes_before_the_archive_are_stray() {
    let built = plain();
    let mut bytes = b"#!/bin/sh\n".to_vec();
    bytes.extend(&built.bytes);
    let prepended = Built { bytes, ..built.clone() };
    let finding = corrupted(&prepended, Code::StrayBytes, "10 bytes lie between");
    assert_eq!(at(&finding).0, Some(built.end));
    // The same, with all offsets made right.
    let mut moved = prepended;
    for (index, header) in built.local.iter().enumerate() {
        let offset = u32::try_from(header + 10).unwrap().to_le_bytes();
        moved = moved.put(built.central[index] + 10 + 42, &offset);
    }
    let offset = u32::try_from(built.directory + 10).unwrap().to_le_bytes();
    let finding =
        corrupted(&moved.put(built.end + 10 + 16, &offset), Code::StrayBytes, "10 bytes lie before");
    assert_eq!(at(&finding).0, Some(0));
}

#[test]
fn bytes_between_the_parts_are_stray() {
    let built = plain();
    let (gap, end) = (built.directory, built.end);
    let finding = corrupted(&built.clone().insert(gap, b"??"), Code::StrayBytes, "2 bytes behind the entry");
    assert_eq!(at(&finding), (Some(gap), Some("a/data/0")));
    let finding = corrupted(&built.insert(end, b"??"), Code::StrayBytes, "2 bytes lie between");
    assert_eq!(at(&finding).0, Some(end));
}

#[test]
fn two_archives_in_one_file_are_refused() {
    let (one, other) = (plain(), zip(Style::Plain, &[("b/data.pkl", b"other")]));
    let joined = Built { bytes: [one.bytes, other.bytes].concat(), ..Built::default() };
    corrupted(&joined, Code::StrayBytes, "there may be two archives");
}

#[test]
fn a_comment_may_be_as_long_as_it_can() {
    let built = plain();
    let end = built.end;
    let mut long = built.put(end + 20, &[0xff, 0xff]);
    long.bytes.extend(vec![b'c'; 65_535]);
    assert_eq!(open(&long).entries.len(), 2);
    long.bytes.push(b'c');
    assert_eq!(refused(&long.bytes).code, Code::DirectoryMissing, "the end is out of sight");
}

#[test]
fn an_end_record_within_a_comment_makes_two_archives() {
    let built = plain();
    let end = built.end;
    let mut hidden = built.put(end + 20, &[22, 0]);
    hidden.bytes.extend(b"PK\x05\x06");
    hidden.bytes.extend([0; 18]);
    corrupted(&hidden, Code::StrayBytes, "lie between");
}

#[test]
fn the_end_record_counts_and_places_the_directory() {
    let built = plain();
    let end = built.end;
    let put = |at: usize, bytes: &[u8]| built.clone().put(end + at, bytes);
    corrupted(&put(8, &[3, 0, 3, 0]), Code::DirectoryDamaged, "has 2 entries, its end record counts 3");
    corrupted(&put(8, &[1, 0]), Code::DirectoryDamaged, "several disks");
    corrupted(&put(4, &[1, 0]), Code::DirectoryDamaged, "several disks");
    corrupted(&put(6, &[1, 0]), Code::DirectoryDamaged, "several disks");
    let finding =
        corrupted(&put(16, &[0xff, 0xff, 0, 0]), Code::DirectoryDamaged, "reaches past its end record");
    assert_eq!(at(&finding).0, Some(end));
    corrupted(&put(16, &[0xff; 4]), Code::DirectoryDamaged, "reaches past");
    corrupted(&put(12, &[1, 0, 0, 0]), Code::StrayBytes, "lie between");
}

#[test]
fn zip64_end_records_must_agree() {
    let built = torch();
    let (ends, end) = (built.ends, built.end);
    let locator = end - 20;
    for (place, byte, word) in [
        (locator + 4, 1, "locator"),
        (locator + 8, 1, "locator"),
        (locator + 16, 2, "locator"),
        (ends + 4, 45, "malformed"),
        (ends, b'Q', "malformed"),
        (ends + 16, 1, "disagree"),
        (ends + 24, 7, "disagree"),
        (ends + 32, 7, "disagree"),
        (ends + 40, 7, "disagree"),
        (ends + 48, 7, "disagree"),
    ] {
        corrupted(&built.clone().put(place, &[byte]), Code::DirectoryDamaged, word);
    }
    // Without the locator's signature, what lies there belongs to nothing.
    corrupted(&built.clone().put(locator, b"Q"), Code::StrayBytes, "lie between");
    // Where the old record defers, the ZIP64 record's disks count.
    let deferred = built.put(end + 4, &[0xff, 0xff]).put(ends + 16, &[1]);
    corrupted(&deferred, Code::DirectoryDamaged, "several disks");
}

#[test]
fn a_needless_sign_for_see_there_is_no_damage_but_in_pytorchs_files() {
    let deferred = |built: Built| {
        let end = built.end;
        built.put(end + 8, &[0xff; 12])
    };
    corrupted(&deferred(torch()), Code::LayoutDamaged, "end records");
    // The same archive without the padding: another writer's.
    let mut foreign = torch();
    for header in foreign.local.clone() {
        let name_bytes = usize::from(foreign.bytes[header + 26]);
        foreign = foreign.put(header + 30 + name_bytes, b"XX");
    }
    assert!(!open(&foreign).by_torch);
    assert_eq!(open(&deferred(foreign)).entries.len(), 2);
}

// The directory.

#[test]
fn a_malformed_directory_is_damage() {
    let built = plain();
    let entry = built.central[1];
    let put = |at: usize, bytes: &[u8]| built.clone().put(entry + at, bytes);
    for (broken, word) in [
        (put(0, b"Q"), "no entry where one should begin"),
        (put(34, &[1]), "no entry where one should begin"),
        (put(28, &[99]), "it ends within a name"),
        (put(30, &[9]), "it ends within an extra field"),
        (put(32, &[9]), "it ends within a comment"),
        (put(20, &[0xff; 4]), "a ZIP64 field doesn't fit"),
        (put(24, &[0xff; 4]), "a ZIP64 field doesn't fit"),
        (put(42, &[0xff; 4]), "a ZIP64 field doesn't fit"),
    ] {
        let finding = corrupted(&broken, Code::DirectoryDamaged, word);
        assert_eq!(at(&finding).0, Some(entry), "{word}");
    }
}

/// Puts an extra field into the directory's entry for the first record.
fn with_extra(built: &Built, extra: &[u8]) -> Built {
    let entry = built.central[0];
    let name = TWO[0].0.len();
    let mut grown = built.clone().put(entry + 30, &length16(extra));
    grown.bytes.splice(entry + 46 + name..entry + 46 + name, extra.iter().copied());
    let end = grown.end + extra.len();
    let bytes = u32::try_from(end - grown.directory).unwrap().to_le_bytes();
    grown.put(end + 12, &bytes)
}

#[test]
fn zip64_fields_of_an_entry_are_taken() {
    let extra = [&[1, 0, 16, 0][..], &5_u64.to_le_bytes(), &5_u64.to_le_bytes()].concat();
    let built = with_extra(&plain(), &extra);
    let entry = built.central[0];
    let wide = built.put(entry + 20, &[0xff; 8]);
    assert_eq!(open(&wide).entries[0].size, 5);
    // Each field only where its fixed field points there.
    let entry_of_one = with_extra(&plain(), &extra[..12]).put(entry + 46 + 10, &[1, 0, 8, 0]);
    assert_eq!(open(&entry_of_one.put(entry + 24, &[0xff; 4])).entries[0].size, 5);
}

#[test]
fn two_extra_fields_of_one_id_are_refused() {
    let field = [&[1, 0, 8, 0][..], &5_u64.to_le_bytes()].concat();
    let twice = [field.clone(), field].concat();
    let entry = plain().central[0];
    let built = with_extra(&plain(), &twice).put(entry + 24, &[0xff; 4]);
    corrupted(&built, Code::DirectoryDamaged, "ZIP64");
}

#[test]
fn a_malformed_extra_field_is_damage() {
    for extra in [&[1][..], &[1, 0, 9, 0, 0], &[9, 9, 0, 0, 1]] {
        corrupted(&with_extra(&plain(), extra), Code::DirectoryDamaged, "ZIP64 field doesn't fit");
    }
}

#[test]
fn an_entry_outside_the_data_is_found() {
    let built = plain();
    let entry = built.central[1];
    let finding = corrupted(
        &built.clone().put(entry + 42, &[0xff, 0xff, 0, 0]),
        Code::EntryOutOfBounds,
        "reach past the archive's data",
    );
    assert_eq!(at(&finding), (Some(0xffff), Some("a/data/0")));
    let large = built.put(entry + 20, &[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    corrupted(&large, Code::EntryOutOfBounds, "65535 bytes");
}

#[test]
fn a_stored_entry_has_one_size() {
    let built = plain();
    let entry = built.central[0];
    let finding = corrupted(&built.put(entry + 20, &[4]), Code::HeaderDisagrees, "two sizes: 4 and 5 bytes");
    assert_eq!(at(&finding), (Some(entry), Some("a/data.pkl")));
}

#[test]
fn what_no_reader_of_checkpoints_supports_is_incompatible() {
    let built = plain();
    let entry = built.central[0];
    for flags in [1_u16, 0x40, 0x2000] {
        let encrypted = built.clone().put(entry + 8, &flags.to_le_bytes()).put(6, &flags.to_le_bytes());
        let finding = refuses(&encrypted, Code::Encrypted, Verdict::Incompatible, "encrypted");
        assert_eq!(at(&finding).1, Some("a/data.pkl"));
    }
    for method in [1_u16, 9, 12, 14, 93, 99] {
        let other = built.clone().put(entry + 10, &method.to_le_bytes()).put(8, &method.to_le_bytes());
        let word = format!("method {method};");
        let finding = refuses(&other, Code::UnsupportedMethod, Verdict::Incompatible, &word);
        assert_eq!(at(&finding), (Some(0), Some("a/data.pkl")));
    }
    let name = built.put(entry + 46, &[0xff]).put(30, &[0xff]);
    refuses(&name, Code::ForeignFormat, Verdict::Incompatible, "no UTF-8");
}

#[test]
fn names_that_readers_confuse_are_ambiguous() {
    for (names, word) in [
        (["a/data.pkl", "a/data.pkl"], "two entries have this name"),
        (["a/data.pkl", "a/DATA.pkl"], "differs from it only in case"),
    ] {
        let built = zip(Style::Plain, &[(names[0], b"1"), (names[1], b"2")]);
        let finding = refuses(&built, Code::Ambiguous, Verdict::Incompatible, word);
        assert_eq!(finding.at.record.as_deref(), Some(names[1]));
    }
}

// The headers beside the data.

#[test]
fn a_local_header_must_say_the_same() {
    let built = plain();
    let header = built.local[1];
    for (offset, bytes, word) in [
        (0, &b"Q"[..], "no local header"),
        (6, &[2], "other flags"),
        (8, &[8], "another compression method"),
        (14, &[0, 0, 0, 0], "another checksum"),
        (18, &[1], "another size"),
        (22, &[1], "another size"),
        (18, &[0; 8], "another size"),
        (30, b"b", "another name"),
        (26, &[7], "another name"),
    ] {
        let finding = corrupted(&built.clone().put(header + offset, bytes), Code::HeaderDisagrees, word);
        assert_eq!(at(&finding), (Some(header), Some("a/data/0")), "{word}");
    }
}

#[test]
fn a_deferred_header_may_say_nothing_but_nothing_else() {
    let built = torch();
    let header = built.local[1];
    for (offset, word) in [(14, "checksum"), (18, "size"), (22, "size")] {
        corrupted(&built.clone().put(header + offset, &[1]), Code::HeaderDisagrees, word);
    }
}

#[test]
fn a_malformed_local_extra_field_disagrees() {
    let built = torch();
    let header = built.local[1];
    let extra = header + 30 + TWO[1].0.len();
    corrupted(&built.put(extra + 2, &[0xff]), Code::HeaderDisagrees, "extra field is malformed");
}

#[test]
fn entries_may_not_share_bytes() {
    let built = plain();
    let (first, second) = (built.central[0], built.central[1]);
    let same = built.clone().put(second + 42, &[0; 4]).put(second + 46, b"b");
    let finding = corrupted(&same, Code::EntriesOverlap, "reach into what begins at offset 0");
    assert_eq!(at(&finding).0, Some(0));
    // The first one's size, in both of its copies, reaches into the second.
    let longer = built.clone().put(first + 20, &[6, 0, 0, 0, 6]).put(18, &[6, 0, 0, 0, 6]);
    let word = format!("begins at offset {}", built.local[1]);
    let finding = corrupted(&longer, Code::EntriesOverlap, &word);
    assert_eq!(at(&finding), (Some(0), Some("a/data.pkl")));
    // A local extra field that swallows the next entry.
    let swallowed = built.put(28, &[0xff, 0]);
    corrupted(&swallowed, Code::EntriesOverlap, "reach into");
}

#[test]
fn an_entry_within_an_entry_overlaps() {
    let inner = zip(Style::Plain, &[("a/b", b"hidden")]);
    let outer = zip(Style::Plain, &[("a/a", &inner.bytes[..inner.directory]), ("a/b", b"hidden")]);
    let start = u32::try_from(outer.data[0].start).unwrap().to_le_bytes();
    let second = outer.central[1];
    let finding = refused(&outer.put(second + 42, &start).bytes);
    assert!(matches!(finding.code, Code::EntriesOverlap | Code::HeaderDisagrees), "{finding:?}");
}

#[test]
fn descriptors_of_every_form_are_taken() {
    let (crc32, size) = (Crc32::of(b"data").value(), 4_u32);
    let narrow = [crc32, size, size].map(u32::to_le_bytes).concat();
    let wide = [&crc32.to_le_bytes()[..], &4_u64.to_le_bytes(), &4_u64.to_le_bytes()].concat();
    let signed = |fields: &[u8]| [b"PK\x07\x08", fields].concat();
    let deferred = || {
        let built = zip(Style::Plain, &[("a/b", b"data")]);
        let (central, end) = (built.central[0], built.directory);
        (built.put(6, &[8]).put(14, &[0; 12]).put(central + 8, &[8]), end)
    };
    for descriptor in [narrow.clone(), signed(&narrow), wide.clone(), signed(&wide)] {
        let (built, end) = deferred();
        assert_eq!(open(&built.insert(end, &descriptor)).entries[0].size, 4, "{}", descriptor.len());
        for place in 0..descriptor.len() {
            let (built, end) = deferred();
            let mut broken = descriptor.clone();
            broken[place] ^= 1;
            let finding = corrupted(&built.insert(end, &broken), Code::HeaderDisagrees, "the descriptor");
            assert_eq!(at(&finding), (Some(end), Some("a/b")));
        }
    }
    // Missing, cut, and too long.
    let (built, end) = deferred();
    corrupted(&built.clone(), Code::HeaderDisagrees, "the descriptor");
    corrupted(&built.clone().insert(end, &narrow[..8]), Code::HeaderDisagrees, "the descriptor");
    let long = [signed(&wide), vec![0]].concat();
    corrupted(&built.insert(end, &long), Code::StrayBytes, "25 bytes behind the entry");
}

// PyTorch's layout.

#[test]
fn unused_bytes_of_pytorchs_archives_are_held_to_its_values() {
    let built = torch();
    let (header, entry, ends) = (built.local[1], built.central[1], built.ends);
    let padding = built.data[1].start - 1;
    for (place, offset, record) in [
        (header + 4, header, Some("a/data/0")),
        (header + 10, header, Some("a/data/0")),
        (header + 12, header, Some("a/data/0")),
        (padding, header, Some("a/data/0")),
        (entry + 4, entry, Some("a/data/0")),
        (entry + 6, entry, Some("a/data/0")),
        (entry + 12, entry, Some("a/data/0")),
        (entry + 36, entry, Some("a/data/0")),
        (entry + 38, entry, Some("a/data/0")),
        (ends + 12, ends, None),
        (ends + 14, ends, None),
    ] {
        let mut changed = built.clone();
        changed.bytes[place] ^= 0x10;
        let finding = corrupted(&changed, Code::LayoutDamaged, "another value than PyTorch writes");
        assert_eq!(at(&finding), (Some(offset), record), "byte {place}");
    }
    let end = built.end;
    let mut commented = built.put(end + 20, &[1, 0]);
    commented.bytes.push(b'c');
    corrupted(&commented, Code::LayoutDamaged, "end records");
}

#[test]
fn one_damaged_padding_does_not_make_it_anothers_archive() {
    let built = zip(Style::Torch, &[("a/1", b"1"), ("a/2", b"2"), ("a/3", b"3")]);
    let extra = built.local[0] + 30 + 3;
    let finding = corrupted(&built.put(extra, b"XX"), Code::LayoutDamaged, "padding of the local header");
    assert_eq!(finding.at.record.as_deref(), Some("a/1"));
}

// Deflated entries.

#[test]
fn deflated_entries_are_read() {
    let content = b"abcabcabc".repeat(50_000);
    let built = deflated(&[("a/b", &content), ("a/c", b"")]);
    let archive = open(&built);
    assert_eq!(archive.entries[0].method, Method::Deflated);
    assert!(archive.entries[0].stored < 10_000);
    assert_eq!(inflate_to_memory(&built.bytes, &archive.entries[0]).unwrap(), content);
    assert_eq!(
        inflate_checksum(&built.bytes, &archive.entries[0]).unwrap().value(),
        Crc32::of(&content).value()
    );
    assert_eq!(inflate_to_memory(&built.bytes, &archive.entries[1]).unwrap(), b"");
}

/// Asserts that decompressing the entry, whose fields `change` falsifies, is refused.
#[track_caller]
fn inflation_fails(content: &[u8], change: impl Fn(&mut Entry, &mut [u8]), word: &str) {
    let built = deflated(&[("a/b", content)]);
    let mut entry = open(&built).entries.remove(0);
    let mut bytes = built.bytes;
    change(&mut entry, &mut bytes);
    for read in [inflate_to_memory(&bytes, &entry).map(drop), inflate_checksum(&bytes, &entry).map(drop)] {
        let Err(Flaw::Found(finding)) = read else { panic!("{read:?}") };
        assert_eq!((finding.code, finding.verdict), (Code::CompressionDamaged, Verdict::Corrupted));
        assert_eq!((finding.level, finding.at.record.as_deref()), (Level::Load, Some("a/b")));
        assert!(finding.message.contains(word), "'{word}' isn't in {finding:?}");
    }
}

#[test]
fn deflate_may_not_lie_about_its_size() {
    let content = b"abcabcabc".repeat(50_000);
    inflation_fails(&content, |entry, _| entry.size -= 1, "to more than the directory promises");
    inflation_fails(&content, |entry, _| entry.size = 10, "to more than the directory promises");
    inflation_fails(&content, |entry, _| entry.size += 1, "to another size");
    inflation_fails(&content, |entry, _| entry.stored += 1, "to another size");
    inflation_fails(&content, |entry, _| entry.data.end -= 1, "ends early");
    inflation_fails(&content, |entry, _| entry.data.end = entry.data.start, "ends early");
    inflation_fails(
        &content,
        |entry, bytes| bytes[usize::try_from(entry.data.start).unwrap()] = 0xff,
        "no DEFLATE stream",
    );
}

#[test]
fn a_bomb_stops_at_the_promised_size() {
    let content = vec![0; 50 << 20];
    let built = deflated(&[("a/b", &content)]);
    let mut entry = open(&built).entries.remove(0);
    entry.size = 1000;
    let mut most = 0;
    let counted = Counted(&built.bytes, std::sync::atomic::AtomicU64::new(0));
    if let Err(Flaw::Found(finding)) = inflate_to_memory(&counted, &entry) {
        most = finding.at.offset.unwrap();
    }
    assert!(most > 0);
    let read = counted.1.load(std::sync::atomic::Ordering::Relaxed);
    assert!(read <= 128 << 10, "{read} bytes were read");
}

/// Counts what is read.
struct Counted<'a>(&'a Vec<u8>, std::sync::atomic::AtomicU64);

impl ReadAt for Counted<'_> {
    fn len(&self) -> u64 {
        self.0.as_slice().len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(buffer.len() as u64, std::sync::atomic::Ordering::Relaxed);
        self.0.read_exact_at(buffer, offset)
    }
}

// Beyond 4 GiB.

/// A file of zeros with some pieces in it: gigabytes that take no room.
struct Sparse {
    len: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        assert!(buffer.len() < 1 << 20, "only headers are read");
        buffer.fill(0);
        for (start, piece) in &self.pieces {
            for (byte, at) in piece.iter().zip(*start..) {
                if let Some(slot) =
                    at.checked_sub(offset).and_then(|at| buffer.get_mut(usize::try_from(at).ok()?))
                {
                    *slot = *byte;
                }
            }
        }
        Ok(())
    }
}

/// What `torch.save` writes for a record of 5 GiB and a small one behind it: even in the ZIP64 field
/// of its local header the stored size is 0, and the descriptor has 24 bytes.
fn above_four_gib() -> Sparse {
    const SIZE: u64 = 5 << 30;
    let small = torch();
    let crc32 = 0x1234_5678_u32.to_le_bytes();
    let mut header = b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([0xff; 8]);
    let zip64 = [&[1, 0, 16, 0][..], &SIZE.to_le_bytes(), &[0; 8]].concat();
    header.extend([3, 0, 20 + 4 + 7, 0]);
    header.extend(b"a/0");
    header.extend(zip64);
    header.extend(b"FB\x07\0ZZZZZZZ");
    assert_eq!(header.len(), 64);
    let descriptor = [b"PK\x07\x08", &crc32[..], &SIZE.to_le_bytes(), &SIZE.to_le_bytes()].concat();
    let second = 64 + SIZE + 24;
    let local = small.bytes[..small.local[1]].to_vec();
    let directory = second + local.len() as u64;
    let mut central = b"PK\x01\x02\0\0\0\0\x08\x08\0\0\0\0\0\0".to_vec();
    central.extend(crc32);
    central.extend([0xff; 8]);
    central.extend([3, 0, 20, 0]);
    central.extend([0; 14]);
    central.extend(b"a/0");
    central.extend([&[1, 0, 16, 0][..], &SIZE.to_le_bytes(), &SIZE.to_le_bytes()].concat());
    let mut entry = small.bytes[small.central[0]..small.central[1]].to_vec();
    entry[30] = 12;
    entry[42..46].fill(0xff);
    entry.extend([&[1, 0, 8, 0][..], &second.to_le_bytes()].concat());
    central.extend(entry);
    let bytes = central.len() as u64;
    central.extend(zip64_ends(2, bytes, directory));
    central.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    central.extend(u32::try_from(bytes).unwrap().to_le_bytes());
    central.extend([0xff, 0xff, 0xff, 0xff, 0, 0]);
    let len = directory + central.len() as u64;
    Sparse { len, pieces: vec![(0, header), (64 + SIZE, descriptor), (second, local), (directory, central)] }
}

#[test]
fn an_archive_above_four_gib_is_read_as_pytorch_writes_it() {
    let archive = Archive::open(&above_four_gib()).unwrap_or_else(|flaw| panic!("{flaw}"));
    assert!(archive.by_torch);
    assert_eq!(archive.entries[0].data, 64..64 + (5 << 30));
    assert_eq!(archive.entries[1].header, 64 + (5 << 30) + 24);
    assert_eq!(archive.entries[1].name, "a/data.pkl");
}

#[test]
fn damage_above_four_gib_is_found() {
    for (piece, place, code) in [
        (0, 38, Code::HeaderDisagrees),
        (1, 12, Code::HeaderDisagrees),
        (1, 20, Code::HeaderDisagrees),
        (3, 46 + 3 + 4 + 4, Code::HeaderDisagrees),
    ] {
        let mut source = above_four_gib();
        source.pieces[piece].1[place] ^= 1;
        let finding = refused(&source);
        assert_eq!((finding.code, finding.verdict), (code, Verdict::Corrupted), "{finding:?}");
    }
}

#[test]
fn a_directory_that_would_fill_the_memory_is_refused() {
    let bytes = MAX_DIRECTORY_BYTES + 1;
    let mut end = b"PK\x05\x06\0\0\0\0\0\0\0\0".to_vec();
    end.extend(u32::try_from(bytes).unwrap().to_le_bytes());
    end.extend([0; 6]);
    let finding = refused(&Sparse { len: bytes + 22, pieces: vec![(bytes, end)] });
    assert_eq!((finding.code, finding.verdict), (Code::TooComplex, Verdict::Incompatible));
    assert_eq!(finding.at.offset, Some(0));
}

proptest::proptest! {
    /// Whatever is changed, it is refused or read within the file.
    #[test]
    fn no_change_makes_it_panic(changes in proptest::collection::vec((0..400_usize, proptest::num::u8::ANY), 1..6)) {
        for mut built in [plain(), torch(), deflated(&TWO)] {
            let length = built.bytes.len();
            for (place, byte) in &changes {
                built.bytes[place % length] = *byte;
            }
            if let Ok(archive) = Archive::open(&built.bytes) {
                for entry in &archive.entries {
                    proptest::prop_assert!(entry.data.start <= entry.data.end && entry.data.end <= length as u64);
                }
            }
        }
    }
}
