//! Deflated data, and archives above 4 GiB.

use super::*;

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
