//! `ckpt scrub`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use ckpt::record::ScrubSummary;

use super::strict::{is_described, lines};
use super::{Place, foreign};

const MEMORY: &str = "runs/.ckpt-scrub.json";

fn shelf(names: &[&str]) -> Place {
    let place = Place::with(&[]);
    for name in names {
        place.write(format!("runs/{name}.safetensors"), &foreign(1));
    }
    place
}

#[test]
fn each_run_says_what_it_left() {
    let place = shelf(&["a", "b"]);
    insta::assert_snapshot!(place.run(&["scrub", "runs", "--max-bytes", "1K"]).shown(), @"
    exit 0
    --- stdout
    VERDICT  PASSED     FORMAT             SIZE  TENSORS  INTEGRITY  PATH
    valid    load       safetensors     1.0 KiB        1  none       runs/a.safetensors
             note: no-checksums: the format has no checksums: damage inside a tensor can't be seen

    1 checkpoint, 1.0 KiB, in 0 ms: 1 valid
    left for another run: 1 checkpoint, 1.0 KiB: the bytes of this run are read
    --- stderr
    ");
    let run = place.run(&["scrub", "runs", "--older-than", "7d", "--ndjson"]);
    assert_eq!(lines(&run.stdout)[0].path, "runs/b.safetensors");
    insta::assert_snapshot!(place.run(&["scrub", "runs", "--older-than", "7d"]).shown(), @"
    exit 0
    --- stdout
    passed over, for it was verified recently: 2 checkpoints
    --- stderr
    ");
}

/// Begins a run that takes some seconds, and waits for its first report.
fn slow(place: &Place) -> (Child, String) {
    let args = ["scrub", "runs", "--ndjson", "--rate", "2000"];
    let mut child = place.command().args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

#[test]
fn a_run_that_is_killed_goes_on_with_the_next() {
    let place = shelf(&["a", "b", "c", "d", "e", "f", "g", "h"]);
    let (mut child, first) = slow(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.contains("runs/a.safetensors"), "{first}");
    assert!(fs::read_to_string(place.at(MEMORY)).unwrap().contains("a.safetensors"));
    let run = place.run(&["scrub", "runs", "--ndjson"]);
    let paths: Vec<String> = lines(&run.stdout).into_iter().map(|report| report.path).collect();
    // The one that was being read when the end came may have been remembered, or not.
    assert_eq!(paths.len(), 8);
    assert!(paths[0] != "runs/a.safetensors", "{paths:?}");
    assert!(
        place_of(&paths, "runs/a.safetensors") >= 6,
        "what was read before the end comes last: {paths:?}"
    );
}

fn place_of(paths: &[String], path: &str) -> usize {
    paths.iter().position(|other| other == path).unwrap()
}

#[test]
fn a_second_run_is_told_who_is_at_work() {
    let place = shelf(&["a", "b", "c", "d", "e", "f", "g", "h"]);
    let (mut child, _) = slow(&place);
    let run = place.run(&["scrub", "runs"]);
    let who = format!("process {}", child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run.code == Some(2) && run.stderr.contains(&who), "{run:?}");
}

#[test]
fn the_json_is_what_the_page_says_and_damage_stands_until_it_is_gone() {
    let place = shelf(&["a", "b"]);
    assert_eq!(place.run(&["seal", "runs", "-q"]).code, Some(0));
    let mut bytes = foreign(1);
    bytes[800] ^= 1;
    place.write("runs/b.safetensors", &bytes);
    for args in [&["scrub", "runs", "--json"][..], &["scrub", "runs", "--json", "--older-than", "1d"]] {
        let run = place.run(args);
        assert_eq!(run.code, Some(1));
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let summary: ScrubSummary = serde_json::from_value(document["summary"].clone()).unwrap();
        assert_eq!(document["schema"], "ckpt.scrub/1");
        assert_eq!(summary.corrupted + summary.standing.len() as u64, 1);
        is_described(&run.stdout, "## The document of `ckpt scrub --json`");
    }
    let run = place.run(&["scrub", "runs", "--older-than", "1d", "-q"]);
    assert!(
        run.stdout.starts_with("corrupted since ") && run.stdout.ends_with("runs/b.safetensors\n"),
        "{run:?}"
    );
    place.write("runs/b.safetensors", &foreign(1));
    assert_eq!(place.run(&["scrub", "runs", "--older-than", "1d"]).code, Some(0));
}

#[test]
fn a_damaged_memory_is_said_and_no_crash() {
    let place = shelf(&["a"]);
    for damaged in [&b"{\"schema\":\"ckpt.scrub-memory/1\",\"check"[..], b"", b"\0\0\0\0", b"[]"] {
        place.write(MEMORY, damaged);
        let run = place.run(&["scrub", "runs"]);
        assert!(run.code == Some(0) && run.stderr.contains("put aside"), "{run:?}");
        assert_eq!(fs::read(place.at("runs/.ckpt-scrub.json.damaged")).unwrap(), damaged);
    }
    place.write(MEMORY, b"{\"schema\":\"ckpt.scrub-memory/2\"}");
    assert_eq!(place.run(&["scrub", "runs"]).code, Some(2));
    let elsewhere = ["scrub", "runs", "--memory", "elsewhere.json"];
    assert_eq!(place.run(&elsewhere).code, Some(0));
    assert!(place.at("elsewhere.json").exists());
}

#[test]
fn a_directory_that_is_the_problem_is_three() {
    let place = Place::with(&["empty/", "a.pt"]);
    for path in ["empty", "gone", "a.pt"] {
        assert_eq!(place.run(&["scrub", path]).code, Some(3), "{path}");
    }
    for wrong in [["--rate", "0"], ["--for", "soon"], ["--older-than", "1mo"], ["--max-bytes", "x"]] {
        assert_eq!(place.run(&["scrub", "empty", wrong[0], wrong[1]]).code, Some(2), "{wrong:?}");
    }
}
