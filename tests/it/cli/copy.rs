//! `ckpt cp`.

use ckpt::record::Copied;

use super::strict::is_described;
use super::{Place, foreign};

#[test]
fn a_copy_says_what_it_did() {
    let place = Place::with(&["to/"]);
    place.write("a.safetensors", &foreign(1));
    place.write("a.safetensors.done", b"");
    insta::assert_snapshot!(place.run(&["cp", "a.safetensors", "to"]).shown(), @"
    exit 0
    --- stdout
    copied  a.safetensors to to/a.safetensors: 1.0 KiB, in 0 ms
            read back as crc64-nvme:f5a9680bf8c1ba78; marker beside it
    --- stderr
    ");
    assert_eq!(std::fs::read(place.at("to/a.safetensors")).unwrap(), foreign(1));
    assert_eq!(place.run(&["cp", "-q", "a.safetensors", "to"]).shown(), "exit 0\n--- stdout\n--- stderr\n");
}

#[test]
fn a_corrupted_source_is_one_and_leaves_nothing() {
    let place = Place::with(&[]);
    place.write("a.safetensors", &foreign(1)[..500]);
    insta::assert_snapshot!(place.run(&["cp", "a.safetensors", "b.safetensors"]).shown(), @"
    exit 1
    --- stdout
    --- stderr
    error: a.safetensors: corrupted: the tensors take 1000 bytes, and the file has 433 after its header (level container, offset 500)
    hint: nothing was copied: damaged bytes are no better in another place; restore the file, or take out what is left of it with `ckpt salvage`
    ");
    assert!(!place.at("b.safetensors").exists());
    let run = place.run(&["cp", "a.safetensors", "b.safetensors", "--json"]);
    let copied: Copied = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, copied.report.verdict, copied.files), (Some(1), ckpt::Verdict::Corrupted, vec![]));
}

#[test]
fn what_cannot_be_done_is_two() {
    let place = Place::with(&[]);
    place.write("a.safetensors", &foreign(1));
    place.write("b.safetensors", &foreign(2));
    let wrong: [&[&str]; 6] = [
        &["a.safetensors"],
        &["a.safetensors", "a.safetensors"],
        &["a.safetensors", "b.safetensors", "--no-clobber"],
        &["a.safetensors", "gone/b.safetensors"],
        &["gone.safetensors", "c.safetensors"],
        &["a.safetensors", "c.safetensors", "--level", "load", "--skip-checkpoint-validation"],
    ];
    for args in wrong {
        let run = place.run(&[&["cp"], args].concat());
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{args:?}: {run:?}");
    }
    assert_eq!(std::fs::read(place.at("b.safetensors")).unwrap(), foreign(2));
}

#[test]
fn the_json_is_what_the_page_says() {
    let place = Place::with(&[]);
    place.write("a.safetensors", &foreign(1));
    let run = place.run(&["cp", "a.safetensors", "b.safetensors", "--json", "--skip-checkpoint-validation"]);
    let copied: Copied = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((copied.schema.as_str(), copied.files.len(), copied.bytes), ("ckpt.copy/1", 1, 1067));
    is_described(&run.stdout, "## The document of `ckpt cp --json`");
}
