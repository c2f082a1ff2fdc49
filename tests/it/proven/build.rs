//! Files with a proof, made by hand: what ckpt writes, and nothing of what it writes it with.

use std::fs;
use std::ops::Range;
use std::path::Path;

use ckpt::digest::{Algorithm, Crc32};
use ckpt::format::head_digest;
use ckpt::format::safetensors::PROOF_OPENING;
use ckpt::format::torch::archive::TorchArchive;
use ckpt::record::{Position, Proof, block_ranges};

/// Windows as small as this give a small file many blocks.
const WINDOW: u64 = 32;

/// A file, with where its data lies.
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
    pub(super) data: Vec<Range<u64>>,
    pub(super) id: String,
}

fn place(range: &Range<u64>) -> Range<usize> {
    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
}

/// A proof of the right length, whose root is still zero.
fn proof(algorithm: Algorithm, bytes: &[u8], data: &[Range<u64>]) -> Proof {
    let blocks = block_ranges(data, WINDOW);
    let digest = |block: &Range<u64>| algorithm.digest(&bytes[place(block)]);
    let zero = ckpt::digest::Digest::from_hex(algorithm, &"0".repeat(2 * algorithm.digest_bytes())).unwrap();
    Proof {
        root: zero,
        block_bytes: WINDOW,
        writer: "ckpt/0.1.0".into(),
        position: Some(Position::Step(7)),
        blocks: blocks.iter().map(digest).collect(),
    }
}

/// Three tensors, one of them empty, in a header that is padded.
pub(super) fn safetensors(algorithm: Algorithm, seed: u8) -> Built {
    let lengths = [("a", 70_u64), ("b", 0), ("c", 41)];
    let content: Vec<u8> = (0..111).map(|at: u8| at.wrapping_mul(37).wrapping_add(seed)).collect();
    let header = |line: &str| {
        let mut text = format!("{PROOF_OPENING}{line}\",\"format\":\"pt\"}}");
        let mut start = 0;
        for (name, length) in lengths {
            let end = start + length;
            text += ",";
            text += &serde_json::json!(name).to_string();
            let info = serde_json::json!({"dtype": "U8", "shape": [length], "data_offsets": [start, end]});
            text += ":";
            text += &info.to_string();
            start = end;
        }
        text.push('}');
        let length = (text.len() + 8).next_multiple_of(64) - 8;
        let text = format!("{text:length$}");
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    };
    let blank = |proof: &Proof| header(&proof.encode()).len() as u64;
    // Where the data begins decides how many blocks it has, and that how long the header is.
    let mut begin = 0;
    let (data, mut proof) = loop {
        let data = vec![begin..begin + 70, begin + 70..begin + 111];
        let at = usize::try_from(begin).unwrap();
        let whole = [&vec![0; at][..], &content].concat();
        let proof = proof(algorithm, &whole, &data);
        if blank(&proof) == begin {
            break (data, proof);
        }
        begin = blank(&proof);
    };
    proof.root = algorithm.digest(&header(&proof.encode()));
    let bytes = [&header(&proof.encode())[..], &content].concat();
    Built { bytes, data, id: proof.id() }
}

struct Record {
    name: String,
    content: Vec<u8>,
    header: usize,
    data: Range<u64>,
    central: usize,
}

/// The records of a checkpoint that PyTorch wrote, packed as ckpt packs them.
pub(super) fn torch(algorithm: Algorithm) -> Built {
    let mut records = records();
    let data_of = |records: &[Record]| -> Vec<Range<u64>> {
        let data = records.iter().filter(|record| record.name.starts_with("archive/data/"));
        data.map(|record| record.data.clone()).filter(|range| !range.is_empty()).collect()
    };
    let bytes = pack(&mut records);
    let data = data_of(&records);
    let mut proof = proof(algorithm, &bytes, &data);
    let line = proof.encode();
    records.push(record("archive/ckpt/proof", line.into_bytes()));
    let mut bytes = pack(&mut records);
    assert_eq!(data_of(&records), data, "the proof comes last");
    let record = records.last().unwrap();
    for crc32 in [record.header + 14, record.central + 16] {
        bytes[crc32..crc32 + 4].fill(0);
    }
    let mut head = Vec::new();
    let mut at = 0;
    for range in data.iter().map(place) {
        head.extend(&bytes[at..range.start]);
        at = range.end;
    }
    head.extend(&bytes[at..]);
    proof.root = head_digest(algorithm, &head, &[]);
    records.last_mut().unwrap().content = proof.encode().into_bytes();
    Built { bytes: pack(&mut records), data, id: proof.id() }
}

fn record(name: &str, content: Vec<u8>) -> Record {
    Record { name: name.to_owned(), content, header: 0, data: 0..0, central: 0 }
}

fn records() -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/small.pt");
    let bytes = fs::read(path).unwrap();
    let archive = TorchArchive::open(&bytes).unwrap_or_else(|flaw| panic!("{flaw}"));
    let entries = archive.archive.entries.iter().filter(|entry| !entry.name.contains("/."));
    let named = entries.map(|entry| {
        let (_, name) = entry.name.split_once('/').unwrap();
        record(&format!("archive/{name}"), bytes[place(&entry.data)].to_vec())
    });
    named.collect()
}

/// Packs records, stored, with checksums and sizes in both headers, each on a multiple of 64 bytes.
fn pack(records: &mut [Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for record in records.iter_mut() {
        record.header = bytes.len();
        let crc32 = Crc32::of(&record.content).value().to_le_bytes();
        let size = u32::try_from(record.content.len()).unwrap().to_le_bytes();
        let name = u16::try_from(record.name.len()).unwrap().to_le_bytes();
        let facts = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc32, &size, &size, &name].concat();
        let padding = 64 - (bytes.len() + 30 + record.name.len() + 4) % 64;
        let padding_bytes = u16::try_from(padding).unwrap().to_le_bytes();
        let extra = [&b"CK"[..], &padding_bytes, &vec![0; padding]].concat();
        bytes.extend([b"PK\x03\x04", &facts[..]].concat());
        bytes.extend(u16::try_from(extra.len()).unwrap().to_le_bytes());
        bytes.extend([record.name.as_bytes(), &extra].concat());
        record.data = bytes.len() as u64..(bytes.len() + record.content.len()) as u64;
        bytes.extend(&record.content);
        record.central = directory.len();
        directory.extend([b"PK\x01\x02\x14\0", &facts[..], &[0; 12]].concat());
        directory.extend(u32::try_from(record.header).unwrap().to_le_bytes());
        directory.extend(record.name.as_bytes());
    }
    let start = bytes.len();
    for record in records.iter_mut() {
        record.central += start;
    }
    let count = u16::try_from(records.len()).unwrap().to_le_bytes();
    bytes.extend(&directory);
    bytes.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count].concat());
    bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend(u32::try_from(start).unwrap().to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
