//! The end records and the directory.

use super::*;

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
