//! `ckpt convert`.

use ckpt::record::Converted;
use ckpt::tensor::{State, TensorView, Value};
use ckpt::{Dtype, SaveOptions, save};

use super::strict::is_described;
use super::{Place, anonymous};

/// A state of two tensors, of which PyTorch has no type for one, and a number.
pub(super) fn put(place: &Place, name: &str) {
    let mut state = State::new();
    let weight = TensorView::new(Dtype::F32, [2, 2], vec![1; 16]).unwrap();
    state.insert("model", Value::Map(vec![("w".into(), weight.into())])).unwrap();
    state.insert("quarters", TensorView::new(Dtype::F4, [4], vec![1, 2]).unwrap()).unwrap();
    state.insert("step", 7).unwrap();
    save(&place.at(name), &state, &SaveOptions::default()).unwrap();
}

#[test]
fn what_is_lost_is_refused_or_listed() {
    let place = Place::with(&[]);
    put(&place, "a.safetensors");
    insta::assert_snapshot!(place.run(&["convert", "a.safetensors", "b.pt"]).shown(), @r#"
    exit 2
    --- stdout
    --- stderr
    error: a.safetensors: the format torch can't hold all of it: 'quarters': PyTorch has no f4: it counts in pairs, f4x2; allow losses (--lossy) to leave that out
    "#);
    assert!(!place.at("b.pt").exists());
    let run = place.run(&["convert", "a.safetensors", "b.pt", "--lossy", "--marker"]);
    insta::assert_snapshot!(anonymous(&run.shown()), @r#"
    exit 0
    --- stdout
    converted  a.safetensors to b.pt: 1 tensor, 924 B, in 0 ms
               safetensors to torch, crc64-nvme:…
    left out   quarters: PyTorch has no f4: it counts in pairs, f4x2
    --- stderr
    "#);
    assert!(place.at("b.pt.done").exists());
    assert_eq!(place.run(&["verify", "b.pt", "--require-marker"]).code, Some(0));
    let run = place.run(&["convert", "b.pt", "c.pt", "--format", "torch-flat", "--lossy", "--strong", "-q"]);
    assert_eq!(run.shown(), "exit 0\n--- stdout\n--- stderr\n");
}

#[test]
fn a_corrupted_source_is_one_and_leaves_nothing() {
    let place = Place::with(&[]);
    put(&place, "a.safetensors");
    let mut bytes = std::fs::read(place.at("a.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    place.write("a.safetensors", &bytes);
    let run = place.run(&["convert", "a.safetensors", "b.pt"]);
    assert_eq!(run.code, Some(1));
    let hint = run.stderr.lines().last().unwrap();
    assert_eq!(
        hint,
        "hint: nothing was written: restore the file, or take out what is left of it with `ckpt salvage`"
    );
    assert!(!place.at("b.pt").exists());
}

#[test]
fn what_cannot_be_done_is_two() {
    let place = Place::with(&["index.json"]);
    put(&place, "a.safetensors");
    put(&place, "b.safetensors");
    let wrong: [&[&str]; 6] = [
        &["a.safetensors"],
        &["a.safetensors", "a.safetensors"],
        &["a.safetensors", "b.safetensors", "--no-clobber"],
        &["a.safetensors", "b.npz"],
        &["gone.safetensors", "c.safetensors"],
        &["a.safetensors", "c.pt", "--format", "onnx"],
    ];
    for args in wrong {
        let run = place.run(&[&["convert"], args].concat());
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{args:?}: {run:?}");
    }
}

#[test]
fn the_json_is_what_the_page_says() {
    let place = Place::with(&[]);
    put(&place, "a.safetensors");
    let run = place.run(&["convert", "a.safetensors", "b.pt", "--lossy", "--json"]);
    let converted: Converted = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((converted.schema.as_str(), converted.tensors), ("ckpt.convert/1", 1));
    is_described(&run.stdout, "## The document of `ckpt convert --json`");
}
