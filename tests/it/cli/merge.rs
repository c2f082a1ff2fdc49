//! `ckpt merge`.

use std::fs;

use ckpt::record::{MergeOutcome, Merged};
use ckpt::tensor::{TensorView, Value};
use ckpt::{Dtype, SaveOptions, State, save};

use super::strict::is_described;
use super::{Place, anonymous};

/// A place with the features of two models, in files and in directories.
fn place() -> Place {
    let place = Place::with(&["dna/", "esm/"]);
    for number in [1, 2] {
        features(&place, &format!("dna/output_{number}_DNABERT_S.pt"), &["x", "y", "z"], 2);
        features(&place, &format!("esm/output_{number}_ESM.pt"), &["z", "x", "q", "x"], 3);
    }
    features(&place, "dna/output_3_DNABERT_S.pt", &["x"], 2);
    place
}

fn features(place: &Place, path: &str, ids: &[&str], width: u64) {
    let count = ids.len() as u64;
    let mut state = State::new();
    state.insert("ids", Value::List(ids.iter().map(|id| Value::from(*id)).collect())).unwrap();
    let bytes = vec![0; usize::try_from(4 * count * width).unwrap()];
    state.insert("data", TensorView::new(Dtype::F32, [count, width], bytes).unwrap()).unwrap();
    save(&place.at(path), &state, &SaveOptions::default()).unwrap();
}

const A: &str = "dna/output_1_DNABERT_S.pt";
const B: &str = "esm/output_1_ESM.pt";

#[test]
fn a_merge_says_what_it_did_and_what_it_left_out() {
    let place = place();
    let run = place.run(&["merge", A, B, "-o", "out.pt"]);
    insta::assert_snapshot!(anonymous(&run.shown()), @"
    exit 0
    --- stdout
    merged   out.pt  2 rows of 2 + 3 f32, 1.4 KiB  crc64-nvme:…
             1 id only in dna/output_1_DNABERT_S.pt: y
             1 id only in esm/output_1_ESM.pt: q
             1 id more than once in esm/output_1_ESM.pt: x
    --- stderr
    ");
    let run = place.run(&["merge", A, B, "-o", "out.pt"]);
    assert!(run.code == Some(0) && run.stdout.starts_with("skipped  out.pt"), "{run:?}");
    let run = place.run(&["merge", A, B, "-o", "out.pt", "--redo", "--quiet"]);
    assert_eq!(run.shown(), "exit 0\n--- stdout\n--- stderr\n");
}

#[test]
fn directories_are_merged_pair_by_pair() {
    let place = place();
    let run = place.run(&["merge", "dna", "esm", "-o", "merged/here", "--marker"]);
    insta::assert_snapshot!(anonymous(&run.shown()), @"
    exit 0
    --- stdout
    merged   merged/here/output_1_merged.pt  2 rows of 2 + 3 f32, 1.4 KiB  crc64-nvme:…
             1 id only in dna/output_1_DNABERT_S.pt: y
             1 id only in esm/output_1_ESM.pt: q
             1 id more than once in esm/output_1_ESM.pt: x
    merged   merged/here/output_2_merged.pt  2 rows of 2 + 3 f32, 1.4 KiB  crc64-nvme:…
             1 id only in dna/output_2_DNABERT_S.pt: y
             1 id only in esm/output_2_ESM.pt: q
             1 id more than once in esm/output_2_ESM.pt: x

    2 pairs, 4 rows, 2.9 KiB, in 0 ms: 2 merged
    --- stderr
    warning: dna/output_3_DNABERT_S.pt: it has no partner, or more than one
    ");
    let names =
        ["output_1_merged.pt", "output_1_merged.pt.done", "output_2_merged.pt", "output_2_merged.pt.done"];
    assert!(names.iter().all(|name| place.at(format!("merged/here/{name}")).is_file()));
    assert_eq!(place.verify(&["--require-marker", "merged"]).code, Some(0));
}

#[test]
fn one_bad_pair_is_one_and_the_others_are_merged() {
    let place = place();
    let mut bytes = fs::read(place.at("esm/output_2_ESM.pt")).unwrap();
    bytes.truncate(200);
    place.write("esm/output_2_ESM.pt", &bytes);
    place.write(
        "pairs.tsv",
        format!("# A, B, OUT\n{A}\tesm/output_2_ESM.pt\tbad.pt\n\n{A}\t{B}\tgood.pt\n").as_bytes(),
    );
    let run = place.run(&["merge", "--list", "pairs.tsv", "--jobs", "1"]);
    insta::assert_snapshot!(anonymous(&run.shown()), @"
    exit 1
    --- stdout
    merged   good.pt  2 rows of 2 + 3 f32, 1.4 KiB  crc64-nvme:…
             1 id only in dna/output_1_DNABERT_S.pt: y
             1 id only in esm/output_1_ESM.pt: q
             1 id more than once in esm/output_1_ESM.pt: x

    2 pairs, 2 rows, 1.4 KiB, in 0 ms: 1 failed, 1 merged
    --- stderr
    error: esm/output_2_ESM.pt: corrupted: the end of the ZIP archive is missing: the file is short or its end is overwritten (200 bytes) (level container)
    hint: nothing was written for this pair: restore the file from a copy, or extract its features again
    ");
    assert!(place.at("good.pt").exists() && !place.at("bad.pt").exists());
}

#[test]
fn unmatched_ids_are_refused_where_that_is_asked_for() {
    let place = place();
    let run = place.run(&["merge", A, B, "-o", "out.pt", "--refuse-unmatched"]);
    insta::assert_snapshot!(run.shown(), @"
    exit 1
    --- stdout
    --- stderr
    error: dna/output_1_DNABERT_S.pt: incompatible: 1 of its ids aren't in esm/output_1_ESM.pt: 'y' (level keys)
    hint: without --refuse-unmatched they are left out, and listed
    ");
    assert!(!place.at("out.pt").exists());
}

#[test]
fn the_json_is_what_the_page_says() {
    let place = place();
    place.write("esm/output_2_ESM.pt", b"PK");
    let run = place.run(&["merge", "dna", "esm", "-o", "merged", "--json"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["schema"], "ckpt.merge/1");
    let merged: Vec<Merged> = serde_json::from_value(document["merges"].clone()).unwrap();
    let [merged] = merged.as_slice() else { panic!("{merged:?}") };
    assert_eq!((merged.outcome, merged.rows, merged.unmatched()), (MergeOutcome::Merged, 2, 2));
    assert_eq!((merged.duplicates(), merged.only_in_b.as_slice()), (1, &["q".to_owned()][..]));
    assert_eq!(document["problems"][0]["path"], "esm/output_2_ESM.pt");
    assert_eq!(document["summary"]["unpaired"], serde_json::json!(["dna/output_3_DNABERT_S.pt"]));
    is_described(&run.stdout, "## The document of `ckpt merge --json`");
}

#[test]
fn what_cannot_be_done_is_two() {
    let place = place();
    place.write("short.tsv", format!("{A}\t{B}\n").as_bytes());
    let wrong: [&[&str]; 9] = [
        &[],
        &[A],
        &[A, B],
        &[A, B, "-o", B],
        &[A, B, "-o", "out.npz"],
        &[A, B, "-o", "gone/out.pt"],
        &[A, "gone.pt", "-o", "out.pt"],
        &["--list", "short.tsv"],
        &["--list", "gone.tsv"],
    ];
    for args in wrong {
        let run = place.run(&[&["merge"], args].concat());
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{args:?}: {run:?}");
    }
}

#[test]
fn a_directory_that_is_the_problem_is_three() {
    let place = place();
    fs::create_dir(place.at("empty")).unwrap();
    for args in [["dna", "empty"], ["dna", "gone"]] {
        let run = place.run(&["merge", args[0], args[1], "-o", "merged"]);
        assert_eq!(run.code, Some(3), "{args:?}: {run:?}");
        assert!(run.stderr.contains("hint: "), "{run:?}");
        assert!(!place.at("merged").exists());
    }
}
