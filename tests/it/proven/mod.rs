//! Files that carry their own proof, and what stands beside them.

mod build;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use ckpt::digest::Algorithm;
use ckpt::format::safetensors::{PROOF_OPENING, read_header, read_proof};
use ckpt::format::torch::archive::TorchArchive;
use ckpt::io::ScanSource;
use ckpt::record::{Described, Marker, Seal};
use ckpt::validate::verify_source;
use ckpt::{Code, Integrity, Level, Report, Verdict, VerifyOptions, verify};

use build::Built;

fn options() -> VerifyOptions {
    VerifyOptions::default().with_threads(1)
}

fn check(name: &str, bytes: &dyn ScanSource) -> Report {
    verify_source(Path::new(name), bytes, &options())
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

/// One file of each format and algorithm.
fn files() -> Vec<(&'static str, Built)> {
    let both =
        |algorithm| [("a.safetensors", build::safetensors(algorithm, 0)), ("a.pt", build::torch(algorithm))];
    Algorithm::ALL.into_iter().flat_map(both).collect()
}

#[test]
fn a_whole_file_is_proven() {
    for (name, built) in files() {
        let report = check(name, &built.bytes);
        assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::Full), "{report:?}");
        assert_eq!(codes(&report), [], "{report:?}");
        assert_eq!(report.passed, Some(Level::Load));
        let shallow = verify_source(Path::new(name), &built.bytes, &options().with_level(Level::Container));
        assert_eq!((shallow.passed, shallow.integrity), (Some(Level::Container), Integrity::None));
        let keys = verify_source(Path::new(name), &built.bytes, &options().with_level(Level::Keys));
        assert_eq!((codes(&keys), keys.passed), (vec![], Some(Level::Keys)), "{keys:?}");
    }
}

#[test]
fn a_proof_is_read_with_its_id() {
    let built = build::safetensors(Algorithm::Blake3, 0);
    let header = read_header(&built.bytes).unwrap_or_else(|flaw| panic!("{flaw}"));
    let proven = read_proof(&built.bytes, &header).unwrap_or_else(|flaw| panic!("{flaw}")).unwrap();
    assert_eq!((proven.proof.id(), &proven.data), (built.id, &built.data));
    let built = build::torch(Algorithm::Crc64Nvme);
    let archive = TorchArchive::open(&built.bytes).unwrap_or_else(|flaw| panic!("{flaw}"));
    let proven = archive.read_proof(&built.bytes).unwrap_or_else(|flaw| panic!("{flaw}")).unwrap();
    assert_eq!((proven.proof.id(), &proven.data), (built.id, &built.data));
}

/// No bit of a proven file is without a digest.
#[test]
fn every_flipped_bit_is_found() {
    let flip = |name: &str, built: &Built| {
        let mut bytes = built.bytes.clone();
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let report = check(name, &bytes);
            assert_eq!(
                report.verdict,
                Verdict::Corrupted,
                "{name}: byte {}, bit {}: {report:?}",
                bit / 8,
                bit % 8
            );
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        println!("{name}: {} bits flipped, each found", 8 * bytes.len());
    };
    let files = files();
    thread::scope(|scope| {
        let work: Vec<_> = files.iter().map(|(name, built)| scope.spawn(|| flip(name, built))).collect();
        for flips in work {
            flips.join().unwrap();
        }
    });
}

#[test]
fn every_length_and_some_bytes_more_are_found() {
    for (name, mut built) in files() {
        for length in 0..built.bytes.len() {
            let report = check(name, &built.bytes[..length].to_vec());
            assert_eq!(report.verdict, Verdict::Corrupted, "{name} cut to {length}: {report:?}");
        }
        built.bytes.push(0);
        assert_eq!(check(name, &built.bytes).verdict, Verdict::Corrupted, "{name}");
    }
}

#[test]
fn a_damaged_block_has_its_place_and_tensor() {
    let mut built = build::safetensors(Algorithm::Crc64Nvme, 0);
    let at = usize::try_from(built.data[1].end).unwrap() - 1;
    built.bytes[at] ^= 1;
    let report = check("a.safetensors", &built.bytes);
    let reason = report.reason().unwrap();
    assert_eq!((reason.code, reason.level), (Code::ChecksumMismatch, Level::Load));
    assert_eq!(reason.at.tensor.as_deref(), Some("c"));
    let offset = reason.at.offset.unwrap();
    assert!(offset.is_multiple_of(32) && offset <= at as u64 && at as u64 - offset < 32, "{reason:?}");
    assert_eq!((report.passed, report.integrity), (Some(Level::Container), Integrity::Full));

    let mut built = build::torch(Algorithm::Crc64Nvme);
    built.bytes[usize::try_from(built.data[0].start).unwrap()] ^= 1;
    let report = check("a.pt", &built.bytes);
    let reason = report.reason().unwrap();
    assert_eq!((reason.code, reason.at.offset), (Code::ChecksumMismatch, Some(built.data[0].start)));
    assert_eq!(reason.at.record.as_deref(), Some("archive/data/0"));
    assert!(reason.at.tensor.is_some(), "{reason:?}");
}

/// The finding that a file with this header has.
fn refused(built: &Built, from: &str, to: &str) -> Report {
    let header = String::from_utf8(built.bytes[8..usize::try_from(built.data[0].start).unwrap()].to_vec());
    let header = header.unwrap();
    assert!(header.contains(from), "{from}");
    let header = header.replacen(from, to, 1);
    let data = &built.bytes[usize::try_from(built.data[0].start).unwrap()..];
    check("a.safetensors", &[&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat())
}

#[test]
fn half_a_proof_is_damage() {
    let built = build::safetensors(Algorithm::Crc64Nvme, 0);
    for (from, to) in [
        ("ckpt.proof", "ckpt.prooF"),
        ("ckpt.proof", "ckpt\\u002eproof"),
        ("ckpt-proof/1", "ckpt-prooF/1"),
        ("{\"__metadata__\"", "{ \"__metadata__\""),
        ("step:7", "step\\u003a7"),
        ("step:7", "stop:7"),
        ("\"format\":\"pt\"", "\"format\":\"ckpt-proof/1\""),
        ("\"format\":\"pt\"", "\"format\":\"np\""),
        ("   ", "  "),
        (PROOF_OPENING, "{\"__metadata__\":{\"a\":\"b\",\"ckpt.proof\":\""),
    ] {
        let report = refused(&built, from, to);
        let reason = report.reason().unwrap_or_else(|| panic!("{from} → {to}: {report:?}"));
        assert_eq!((reason.code, report.verdict), (Code::ProofDamaged, Verdict::Corrupted), "{from} → {to}");
        assert!(reason.message.contains("rewritten by another program"), "{reason:?}");
    }
}

#[test]
fn a_proof_of_a_later_version_is_a_note() {
    let built = build::safetensors(Algorithm::Crc64Nvme, 0);
    for (from, to) in [("ckpt-proof/1", "ckpt-proof/22"), ("crc64-nvme", "xxh3-128")] {
        let report = refused(&built, from, to);
        assert_eq!(codes(&report), [Code::ProofUnknown, Code::NoChecksums], "{report:?}");
        assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::None));
    }
    // One wrong bit makes another version of it as well, and the root tells.
    for (from, to) in [("ckpt-proof/1", "ckpt-proof/3"), ("crc64-nvme", "crc65-nvme")] {
        let reason = refused(&built, from, to).reason().unwrap().clone();
        assert_eq!(reason.code, Code::ProofDamaged, "{to}");
    }
}

#[test]
fn a_program_that_packs_the_archive_anew_and_keeps_the_proof_is_told() {
    let built = build::torch(Algorithm::Crc64Nvme);
    let archive = TorchArchive::open(&built.bytes).unwrap_or_else(|flaw| panic!("{flaw}"));
    let pack = |rename: fn(&str) -> String, deflated: bool| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let stored =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let packed = stored.compression_method(zip::CompressionMethod::Deflated);
        for entry in &archive.archive.entries {
            let is_proof = entry.name.ends_with("proof");
            writer
                .start_file(rename(&entry.name), if is_proof && deflated { packed } else { stored })
                .unwrap();
            let range = usize::try_from(entry.data.start).unwrap()..usize::try_from(entry.data.end).unwrap();
            std::io::Write::write_all(&mut writer, &built.bytes[range]).unwrap();
        }
        check("a.pt", &writer.finish().unwrap().into_inner())
    };
    for report in [
        pack(str::to_owned, false),
        pack(str::to_owned, true),
        pack(|name| name.replace("ckpt/proof", "ckpt/prooF"), false),
        pack(|name| name.replace("ckpt/proof", "other"), false),
    ] {
        let reason = report.reason().unwrap_or_else(|| panic!("{report:?}"));
        assert_eq!((reason.code, report.verdict), (Code::ProofDamaged, Verdict::Corrupted), "{report:?}");
        assert!(reason.message.contains("rewritten by another program"), "{reason:?}");
        assert_eq!(report.findings.len(), 1, "the other records are whole: {report:?}");
    }
}

/// A file with what stands beside it.
struct Place(tempfile::TempDir, PathBuf);

impl Place {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        Self(directory, path)
    }

    fn beside(&self, suffix: &str, text: &str) {
        fs::write(format!("{}{suffix}", self.1.display()), text).unwrap();
    }

    fn verify(&self, level: Level) -> Report {
        assert!(self.0.path().is_dir());
        verify(&self.1, &options().with_level(level))
    }
}

#[test]
fn markers_are_held_against_the_proof() {
    let built = build::safetensors(Algorithm::Crc64Nvme, 0);
    let place = Place::new("a.safetensors", &built.bytes);
    let bytes = built.bytes.len() as u64;
    let own = Some(built.id.clone());
    let other = Some("crc64-nvme:0000000000000000".to_owned());
    let marker = |bytes, proof: &Option<String>| Marker { bytes, proof: proof.clone(), or: None };
    let or = |marker: Marker, bytes, proof: &Option<String>| Marker {
        or: Some(Described { bytes, proof: proof.clone() }),
        ..marker
    };
    for (marker, at_size, deep) in [
        (marker(bytes, &own), vec![Code::Marked], vec![Code::Marked]),
        (marker(bytes, &None), vec![Code::Marked], vec![Code::Marked]),
        (marker(bytes, &other), vec![Code::Marked], vec![Code::Marked, Code::MarkerStale]),
        (marker(bytes + 1, &other), vec![Code::MarkerStale], vec![Code::MarkerStale]),
        (or(marker(9, &other), bytes, &own), vec![Code::Marked], vec![Code::Marked]),
        (or(marker(bytes, &own), 9, &other), vec![Code::Marked], vec![Code::Marked]),
        (or(marker(8, &other), 9, &other), vec![Code::MarkerStale], vec![Code::MarkerStale]),
    ] {
        place.beside(".done", &marker.encode());
        for (level, codes_then) in [(Level::Size, &at_size), (Level::Container, &deep), (Level::Load, &deep)]
        {
            let report = place.verify(level);
            assert_eq!((report.verdict, &codes(&report)), (Verdict::Valid, codes_then), "{marker:?} {level}");
        }
    }
    for marker in [marker(bytes + 1, &own), marker(bytes + 1, &None), or(marker(8, &None), 9, &own)] {
        place.beside(".done", &marker.encode());
        let report = place.verify(Level::Load);
        assert_eq!(
            (report.verdict, codes(&report)),
            (Verdict::Corrupted, vec![Code::SizeMismatch]),
            "{marker:?}"
        );
    }
}

/// A file that was cut is no other file, whatever its marker names.
#[test]
fn a_marker_is_not_stale_for_a_file_that_was_cut() {
    let built = build::safetensors(Algorithm::Crc64Nvme, 0);
    let place = Place::new("a.safetensors", &built.bytes[..built.bytes.len() - 1]);
    let marker = Marker { bytes: built.bytes.len() as u64, proof: Some("blake3:00".into()), or: None };
    place.beside(".done", &marker.encode());
    assert_eq!(codes(&place.verify(Level::Size)), [Code::SizeMismatch]);
}

/// A seal with windows of [`ckpt::record::BLOCK_BYTES`], as it is made of a file that has less.
fn seal_of(bytes: &[u8], algorithm: Algorithm) -> String {
    Seal::of_blocks(bytes.len() as u64, algorithm, vec![algorithm.digest(bytes)]).encode()
}

#[test]
fn a_seal_vouches_for_a_foreign_file() {
    for name in ["small.safetensors", "small.legacy.pt", "small.pt"] {
        let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap();
        for algorithm in Algorithm::ALL {
            let place = Place::new(name, &whole);
            place.beside(".seal", &seal_of(&whole, algorithm));
            let report = place.verify(Level::Load);
            assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::Full), "{report:?}");
            assert!(!codes(&report).contains(&Code::NoChecksums), "{report:?}");
            assert_eq!(place.verify(Level::Container).integrity, Integrity::None);

            let mut damaged = whole.clone();
            *damaged.last_mut().unwrap() ^= 1;
            fs::write(&place.1, &damaged).unwrap();
            assert_eq!(place.verify(Level::Load).verdict, Verdict::Corrupted, "{name}");
        }
    }
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/small.safetensors")).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let place = Place::new("a.safetensors", &damaged);
    place.beside(".seal", &seal_of(&whole, Algorithm::Blake3));
    let report = place.verify(Level::Load);
    let reason = report.reason().unwrap();
    assert_eq!((reason.code, reason.at.offset), (Code::ChecksumMismatch, Some(0)));
    assert!(reason.message.contains("sealed"), "{reason:?}");
}

#[test]
fn a_damaged_seal_is_a_note() {
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/small.safetensors")).unwrap();
    let place = Place::new("a.safetensors", &whole);
    let seal = seal_of(&whole, Algorithm::Crc64Nvme);
    let other_size = format!("\"bytes\":{}", whole.len() + 1);
    for text in [
        "no seal".to_owned(),
        seal[..seal.len() / 2].to_owned(),
        seal.replace("\"root\"", "\"rooT\""),
        seal.replace(&format!("\"bytes\":{}", whole.len()), &other_size),
    ] {
        place.beside(".seal", &text);
        let report = place.verify(Level::Load);
        assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::None), "{text}");
        assert_eq!(codes(&report), [Code::SealDamaged, Code::NoChecksums], "{text}");
    }
}

#[test]
fn a_seal_of_a_file_that_was_written_anew_is_stale() {
    let built = build::torch(Algorithm::Crc64Nvme);
    let place = Place::new("a.pt", &built.bytes);
    place.beside(".seal", &seal_of(b"another file", Algorithm::Crc64Nvme));
    let report = place.verify(Level::Load);
    assert_eq!((report.verdict, codes(&report)), (Verdict::Valid, vec![Code::SealStale]));
    // Of the same size, it isn't asked for: the file's own proof holds.
    let other = vec![0; built.bytes.len()];
    place.beside(".seal", &seal_of(&other, Algorithm::Crc64Nvme));
    let report = place.verify(Level::Load);
    assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::Full), "{report:?}");
}

#[test]
fn an_open_source_is_checked_without_a_look_at_paths() {
    let built = build::safetensors(Algorithm::Crc64Nvme, 0);
    let place = Place::new("a.safetensors", &built.bytes);
    place.beside(".done", &Marker { bytes: 1, ..Marker::default() }.encode());
    let report = verify_source(&place.1, &built.bytes, &options());
    assert_eq!((report.verdict, codes(&report)), (Verdict::Valid, vec![]));
    assert_eq!(codes(&verify_source(&place.1, &Vec::new(), &options())), [Code::Empty]);
    let misnamed = verify_source(Path::new("a.pt"), &built.bytes, &options());
    assert_eq!(misnamed.reason().unwrap().code, Code::MisleadingName);
}
