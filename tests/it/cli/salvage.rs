//! `ckpt salvage`.

use ckpt::record::Salvaged;

use super::strict::is_described;
use super::{EMPTY_SAFETENSORS, Place, anonymous, foreign};
use crate::cli::convert::put;

/// A file without its last byte, which is one of the number types that PyTorch hasn't.
fn cut(place: &Place) {
    put(place, "a.safetensors");
    let bytes = std::fs::read(place.at("a.safetensors")).unwrap();
    place.write("a.safetensors", &bytes[..bytes.len() - 1]);
}

#[test]
fn what_is_missing_is_listed() {
    let place = Place::with(&[]);
    cut(&place);
    let run = place.run(&["salvage", "a.safetensors", "b.pt"]);
    insta::assert_snapshot!(anonymous(&run.shown()), @r#"
    exit 1
    --- stdout
    salvaged   a.safetensors to b.pt: 1 of 2 tensors, 1.1 KiB, in 0 ms
               safetensors to torch, crc64-nvme:…
    missing    quarters f4[4]: the file ends 1 bytes before its data does
    --- stderr
    hint: take the missing tensors from a copy or from an earlier checkpoint, before anybody trains on
    "#);
    assert_eq!(place.run(&["verify", "b.pt"]).code, Some(0));
    put(&place, "whole.safetensors");
    assert_eq!(place.run(&["salvage", "whole.safetensors", "c.safetensors"]).code, Some(0));
}

#[test]
fn nothing_is_two_and_leaves_nothing() {
    let place = Place::with(&["b.pt"]);
    place.write("a.safetensors", &foreign(1)[..500]);
    insta::assert_snapshot!(place.run(&["salvage", "a.safetensors", "c.pt"]).shown(), @r#"
    exit 2
    --- stdout
    --- stderr
    error: a.safetensors: none of its 1 tensors could be saved, and nothing was written; 'w': the file ends 567 bytes before its data does
    hint: restore it from a copy; --unproven saves what lies wholly in the file, be it damaged or not
    "#);
    for args in [&["b.pt", "c.pt"][..], &["gone.pt", "c.pt"], &["a.safetensors", "a.safetensors"]] {
        let run = place.run(&[&["salvage"], args].concat());
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{args:?}: {run:?}");
    }
    assert!(!place.at("c.pt").exists());
    place.write("empty.safetensors", EMPTY_SAFETENSORS);
    assert_eq!(place.run(&["salvage", "empty.safetensors", "c.pt"]).code, Some(0));
}

#[test]
fn the_json_is_what_the_page_says() {
    let place = Place::with(&[]);
    cut(&place);
    let run = place.run(&["salvage", "a.safetensors", "b.pt", "--json"]);
    let salvaged: Salvaged = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, salvaged.schema.as_str(), salvaged.saved), (Some(1), "ckpt.salvage/1", 1));
    is_described(&run.stdout, "## The document of `ckpt salvage --json`");
}
