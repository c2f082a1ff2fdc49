//! `ckpt seal`, and what `ckpt verify` makes of it.

use ckpt::{Integrity, Verdict};

use super::strict::{is_described, lines};
use super::{EMPTY_SAFETENSORS, Place, foreign};

#[test]
fn a_seal_shows_a_flipped_byte() {
    let place = Place::with(&[]);
    place.write("runs/a.safetensors", &foreign(1));
    let verify = || lines(&place.verify(&["runs", "--ndjson"]).stdout).remove(0);
    assert_eq!(verify().integrity, Integrity::None);
    insta::assert_snapshot!(place.run(&["seal", "runs"]).shown(), @"
    exit 0
    --- stdout
    sealed   runs/a.safetensors  1.0 KiB  crc64-nvme:f5a9680bf8c1ba78

    1 file, 1.0 KiB, in 0 ms: 1 sealed
    --- stderr
    ");
    let report = verify();
    assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::Full));
    assert!(place.run(&["seal", "runs"]).stdout.starts_with("holds "));

    let mut bytes = foreign(1);
    bytes[700] ^= 1;
    place.write("runs/a.safetensors", &bytes);
    let report = verify();
    assert_eq!(report.verdict, Verdict::Corrupted);
    assert!(report.findings.iter().any(|finding| finding.code == ckpt::Code::ChecksumMismatch));
    insta::assert_snapshot!(place.run(&["seal", "runs"]).shown(), @"
    exit 1
    --- stdout
    broken   runs/a.safetensors  1.0 KiB
             the file isn't the one that was sealed: it was damaged, or rewritten since
             hint: restore the file from a copy; if it was changed on purpose, seal it as it is now with --renew

    1 file, 1.0 KiB, in 0 ms: 1 broken
    --- stderr
    ");
    let run = place.run(&["seal", "runs", "--renew", "--algorithm", "blake3"]);
    assert!(run.code == Some(0) && run.stdout.starts_with("renewed "), "{run:?}");
    assert!(run.stdout.contains("  blake3:"), "{run:?}");
    assert_eq!(verify().integrity, Integrity::Full);
}

#[test]
fn what_is_corrupted_is_not_sealed_and_a_proof_needs_no_seal() {
    let place = Place::with(&[]);
    place.write("runs/short.safetensors", &foreign(1)[..500]);
    place.write("runs/empty.safetensors", EMPTY_SAFETENSORS);
    let path = place.at("runs/proven.safetensors");
    let mut state = ckpt::State::new();
    state.insert("step", 1).unwrap();
    ckpt::save(&path, &state, &ckpt::SaveOptions::default()).unwrap();
    let run = place.run(&["seal", "runs", "--json"]);
    assert_eq!(run.code, Some(1));
    is_described(&run.stdout, "## The document of `ckpt seal --json`");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["schema"], "ckpt.seal/1");
    let files: Vec<ckpt::record::Sealed> = serde_json::from_value(document["files"].clone()).unwrap();
    let outcomes: Vec<&str> = files.iter().map(|file| file.outcome.as_str()).collect();
    assert_eq!(outcomes, ["sealed", "proven", "refused"]);
    assert!(!place.at("runs/short.safetensors.seal").exists());
    assert!(!place.at("runs/proven.safetensors.seal").exists());
    assert_eq!((&document["summary"]["files"], &document["summary"]["refused"]), (&3.into(), &1.into()));
}

#[test]
fn a_missing_directory_is_three_and_a_missing_file_one() {
    let place = Place::with(&["empty/"]);
    assert_eq!(place.run(&["seal", "gone"]).code, Some(3));
    assert_eq!(place.run(&["seal", "empty"]).code, Some(3));
    assert_eq!(place.run(&["seal", "gone.pt"]).code, Some(1));
    assert_eq!(place.run(&["seal", "a.pt", "--algorithm", "md5"]).code, Some(2));
}
