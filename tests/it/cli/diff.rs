//! `ckpt diff`.

use ckpt::record::Compared;
use ckpt::tensor::{State, TensorView};
use ckpt::{Dtype, SaveOptions, save};

use super::Place;
use super::strict::is_described;

fn put(place: &Place, name: &str, values: &[f32], extra: &str) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut state = State::new();
    state.insert("w", TensorView::new(Dtype::F32, [values.len() as u64], bytes).unwrap()).unwrap();
    state.insert(extra, 0.5).unwrap();
    save(&place.at(name), &state, &SaveOptions::default()).unwrap();
}

#[test]
fn what_differs_is_told_with_where_and_how_much() {
    let place = Place::with(&[]);
    put(&place, "a.pt", &[1.0, 2.0, 3.0], "lr");
    put(&place, "b.safetensors", &[1.0, 2.5, f32::NAN], "hostile\u{1b}[2J");
    insta::assert_snapshot!(place.run(&["diff", "a.pt", "b.safetensors"]).shown(), @r#"
    exit 1
    --- stdout
    elements    w: 2 of 3 elements differ, by at most 0.5 at [1], 1 of them not by a number (NaN, infinite, or of an unknown kind)
    only-left   lr: 0.5
    only-right  hostile\u{1b}[2J: 0.5
    3 differences; 0 tensors and 0 values equal, in 0 ms
    --- stderr
    "#);
    insta::assert_snapshot!(place.run(&["diff", "a.pt", "a.pt", "--full"]).shown(), @r#"
    exit 0
    --- stdout
    equal: 1 tensor and 1 value, in 0 ms
    --- stderr
    "#);
    insta::assert_snapshot!(place.run(&["diff", "a.pt", "a.pt"]).shown(), @r#"
    exit 0
    --- stdout
    equal: 1 tensor and 1 value, by their proofs: no data was read, in 0 ms
    --- stderr
    "#);
    let run = place.run(&["diff", "-q", "a.pt", "a.pt", "--tolerance", "0.1"]);
    assert_eq!(run.shown(), "exit 0\n--- stdout\n--- stderr\n");
}

#[test]
fn what_cannot_be_read_is_two() {
    let place = Place::with(&["b.pt"]);
    put(&place, "a.pt", &[1.0], "lr");
    let wrong: [&[&str]; 5] = [
        &["a.pt"],
        &["a.pt", "b.pt"],
        &["a.pt", "gone.pt"],
        &["a.pt", "a.pt", "--tolerance=-1"],
        &["a.pt", "a.pt", "--tolerance", "1", "--keys-only"],
    ];
    for args in wrong {
        let run = place.run(&[&["diff"], args].concat());
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{args:?}: {run:?}");
    }
}

#[test]
fn the_json_is_what_the_page_says() {
    let place = Place::with(&[]);
    put(&place, "a.pt", &[1.0], "lr");
    put(&place, "b.pt", &[2.0], "lr");
    let run = place.run(&["diff", "a.pt", "b.pt", "--json"]);
    let compared: Compared = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, compared.schema.as_str(), compared.differences.len()), (Some(1), "ckpt.diff/1", 1));
    is_described(&run.stdout, "## The document of `ckpt diff --json`");
}
