//! The headers and descriptors beside the data, and PyTorch's exact layout.

use super::*;

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
