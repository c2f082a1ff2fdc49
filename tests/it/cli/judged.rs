//! What a person sees of checkpoints that are not valid.

use super::strict::{document, lines};
use super::{EMPTY_SAFETENSORS, Place, timeless};

/// One valid, one cut short, one empty, one that is something else.
fn mixed() -> Place {
    let place = Place::with(&[]);
    place.write("runs/good.safetensors", EMPTY_SAFETENSORS);
    place.write("runs/short.safetensors", b"\x40\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\"");
    place.write("runs/empty.pt", b"");
    place.write("runs/page.bin", b"<!DOCTYPE html><html><body>404 Not Found</body></html>");
    place
}

#[test]
fn one_that_is_not_valid_is_one() {
    insta::assert_snapshot!(mixed().verify(&["runs"]).shown(), @r#"
    exit 1
    --- stdout
    corrupted  runs/empty.pt
      empty, 0 B; checked to size, passed nothing
      empty: the file is empty: it was created, and nothing was written or kept
      hint: the file was never written back, as after a crash: resume from an earlier checkpoint

    corrupted  runs/short.safetensors
      safetensors, 27 B; checked to container, passed size
      truncated: the header's length is 64, and the file has 19 bytes after that field (offset 0)
      hint: the file is short, as after an interrupted save, copy or download: copy it again, or resume from an earlier checkpoint

    incompatible  runs/page.bin
      html, 54 B; checked to container, passed size
      foreign-format: the content is an HTML page: it is most likely a download's error page
      hint: it is no checkpoint: check where it came from, and download or export it again

    VERDICT  PASSED     FORMAT             SIZE  TENSORS  INTEGRITY  PATH
    valid    load       safetensors        10 B        0  none       runs/good.safetensors
             note: no-checksums: the format has no checksums: damage inside a tensor can't be seen

    4 checkpoints, 91 B, in 0 ms: 2 corrupted, 1 incompatible, 1 valid
    --- stderr
    "#);
}

#[test]
fn a_missing_checkpoint_is_no_missing_directory() {
    let run = Place::with(&[]).verify(&["gone.pt", "--ndjson"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(lines(&run.stdout)[0].findings[0].code, ckpt::Code::Missing);
}

#[test]
fn the_counts_add_up() {
    let run = mixed().verify(&["runs", "--json"]);
    let read = document(&run.stdout);
    let summary = &read.summary;
    assert_eq!((summary.checkpoints, summary.valid, summary.incompatible), (4, 1, 1));
    assert_eq!((summary.corrupted, summary.unreadable), (2, 0));
    assert_eq!(summary.bytes, read.reports.iter().map(|report| report.bytes).sum::<u64>());
}

#[test]
fn failures_are_logged_and_shown_by_the_next_run() {
    let place = mixed();
    assert_eq!(place.verify(&["runs", "-q", "--log-failures"]).code, Some(1));
    assert_eq!(place.verify(&["runs/empty.pt", "-q", "--log-failures"]).code, Some(1));
    let log = std::fs::read_to_string(place.at("runs/failed_checkpoints.txt")).unwrap();
    let fields: Vec<Vec<&str>> = log.lines().map(|line| line.split('|').collect()).collect();
    assert!(fields.iter().all(|fields| fields.len() == 3 && fields[2].ends_with('Z')), "{log}");
    let paths: Vec<&str> = fields.iter().map(|fields| fields[0]).collect();
    assert_eq!(paths, ["empty.pt", "page.bin", "short.safetensors", "empty.pt"]);
    let run = place.verify(&["runs/empty.pt"]);
    assert!(run.stdout.contains("failed before: 2 times, last at "), "{}", run.stdout);
}

#[test]
fn junit_tells_failures_by_their_code() {
    let place = mixed();
    assert_eq!(place.verify(&["runs", "-q", "--junit", "report.xml"]).code, Some(1));
    let xml = std::fs::read_to_string(place.at("report.xml")).unwrap();
    assert!(xml.contains("tests=\"4\" skipped=\"0\" failures=\"3\" errors=\"0\""), "{xml}");
    assert!(xml.contains("type=\"empty\"") && xml.contains("type=\"foreign-format\""), "{xml}");
}

#[test]
fn required_keys_are_asked_for() {
    let place = Place::with(&[]);
    place.write("a.safetensors", EMPTY_SAFETENSORS);
    place.write("keys.txt", b"# what a resume needs\n\nmodel.weight\n");
    place.write("like.safetensors", EMPTY_SAFETENSORS);
    assert_eq!(place.verify(&["a.safetensors", "--require", "model.weight"]).code, Some(1));
    assert_eq!(place.verify(&["a.safetensors", "--like", "like.safetensors"]).code, Some(0));
    let run = place.verify(&["a.safetensors", "--require-file", "keys.txt", "--ndjson"]);
    let report = &lines(&run.stdout)[0];
    assert_eq!((report.level, report.passed), (Some(ckpt::Level::Keys), Some(ckpt::Level::Load)));
    assert_eq!(report.findings.iter().filter(|finding| finding.code == ckpt::Code::KeyMissing).count(), 1);
}

#[test]
fn a_missing_marker_is_a_failure_only_where_asked() {
    let place = Place::with(&["a.pt.done"]);
    place.write("a.safetensors", EMPTY_SAFETENSORS);
    assert_eq!(place.verify(&["a.safetensors"]).code, Some(0));
    assert_eq!(place.verify(&["a.safetensors", "--require-marker"]).code, Some(1));
    place.write("a.safetensors.done", b"");
    assert_eq!(place.verify(&["a.safetensors", "--require-marker"]).code, Some(0));
}

#[test]
fn info_on_what_is_damaged_says_where_to_turn() {
    let run = mixed().run(&["info", "runs/short.safetensors"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("ckpt verify"), "{}", run.stderr);
}

#[test]
fn every_output_says_the_same_of_many_threads() {
    let place = mixed();
    let with = |jobs| timeless(&place.verify(&["runs", "--ndjson", "-j", jobs]).stdout);
    assert_eq!(with("1"), with("8"));
}
