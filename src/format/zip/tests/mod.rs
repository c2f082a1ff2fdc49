//! Archives built byte by byte, each wrong in one place.

mod data;
mod directory;
mod headers;

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
