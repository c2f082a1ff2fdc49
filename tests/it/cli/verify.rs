//! `ckpt verify`: exit codes, outputs, and names that mean harm.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use super::strict::{Summary, document, lines};
use super::{EMPTY_SAFETENSORS, FAST, Place, timeless};

#[test]
fn all_valid_is_zero() {
    let place = Place::with(&["runs/b.pt", "runs/a/x.pt", "runs/notes.txt"]);
    insta::assert_snapshot!(place.verify(&["runs", FAST]).shown(), @r#"
    exit 0
    --- stdout
    VERDICT  PASSED     FORMAT         SIZE  TENSORS  INTEGRITY  PATH
    valid    size       unknown         1 B        -  none       runs/a/x.pt
             note: contents-not-checked: only presence, size and completion marker were checked, not the contents
    valid    size       unknown         1 B        -  none       runs/b.pt
             note: contents-not-checked: only presence, size and completion marker were checked, not the contents

    2 checkpoints, 2 B, in 0 ms: 2 valid
    --- stderr
    "#);
}

#[test]
fn wrong_usage_is_two() {
    let place = Place::with(&["a.pt", "not-utf8"]);
    place.write("not-utf8", b"\xff");
    let wrong: [&[&str]; 9] = [
        &[],
        &["a.pt", "--nope"],
        &["a.pt", "--level", "deep"],
        &["a.pt", "--level", "load", "--skip-load"],
        &["a.pt", "--level", "load", "--require", "w"],
        &["a.pt", "--json", "--ndjson"],
        &["a.pt", "--require", "w", FAST],
        &["a.pt", "--require-file", "gone"],
        &["a.pt", "--require-file", "not-utf8"],
    ];
    for args in wrong {
        let run = place.verify(args);
        assert_eq!(run.code, Some(2), "{args:?}");
        assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{args:?}: {run:?}");
    }
    assert_eq!(place.verify(&["a.pt", FAST, "--junit", "gone/report.xml"]).code, Some(2));
}

#[test]
fn a_directory_that_is_the_problem_is_three() {
    let place = Place::with(&["empty/", "full/a.pt"]);
    insta::assert_snapshot!(place.verify(&["gone", "empty", "full", FAST]).shown(), @r#"
    exit 3
    --- stdout
    VERDICT  PASSED     FORMAT         SIZE  TENSORS  INTEGRITY  PATH
    valid    size       unknown         1 B        -  none       full/a.pt
             note: contents-not-checked: only presence, size and completion marker were checked, not the contents

    1 checkpoint, 1 B, in 0 ms: 1 valid
    --- stderr
    error: gone: can't look at it: No such file or directory (os error 2)
    hint: check the path and its permissions
    error: empty: no checkpoint found in this directory
    hint: checkpoints are found by extension and by content; name a file to have it checked whatever it is
    "#);
    assert_eq!(place.verify(&["empty", FAST]).code, Some(3));
    assert_eq!(place.verify(&["gone"]).code, Some(3));
}

#[test]
fn json_is_one_document() {
    let place = Place::with(&["full/b.pt", "full/a.pt", "empty/"]);
    let run = place.verify(&["full", "empty", FAST, "--json"]);
    insta::assert_snapshot!(timeless(&run.stdout), @r#"
    {"schema":"ckpt.verify/1","reports":[
    {"schema":"ckpt.report/1","path":"full/a.pt","format":"unknown","verdict":"valid","level":"size","passed":"size","bytes":1,"tensors":null,"integrity":"none","findings":[{"code":"contents-not-checked","level":"size","verdict":"valid","message":"only presence, size and completion marker were checked, not the contents","at":{}}],"elapsed_ms":0},
    {"schema":"ckpt.report/1","path":"full/b.pt","format":"unknown","verdict":"valid","level":"size","passed":"size","bytes":1,"tensors":null,"integrity":"none","findings":[{"code":"contents-not-checked","level":"size","verdict":"valid","message":"only presence, size and completion marker were checked, not the contents","at":{}}],"elapsed_ms":0}
    ],"problems":[{"path":"empty","message":"empty: no checkpoint found in this directory"}],"summary":{"checkpoints":2,"valid":2,"incompatible":0,"corrupted":0,"unreadable":0,"bytes":2,"elapsed_ms":0}}
    "#);
    let read = document(&run.stdout);
    assert_eq!(read.schema, "ckpt.verify/1");
    let paths: Vec<_> = read.reports.iter().map(|report| report.path.as_str()).collect();
    assert_eq!(paths, ["full/a.pt", "full/b.pt"]);
    assert_eq!(read.problems[0].path, "empty");
    assert!(read.problems[0].message.contains("no checkpoint"));
    let expected = Summary {
        checkpoints: 2,
        valid: 2,
        incompatible: 0,
        corrupted: 0,
        unreadable: 0,
        bytes: 2,
        elapsed_ms: read.summary.elapsed_ms,
    };
    assert_eq!(read.summary, expected);
}

#[test]
fn ndjson_is_a_report_per_line_in_path_order() {
    let names: Vec<String> = (0..500).map(|number| format!("runs/{number:03}.pt")).collect();
    let place = Place::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let run = place.verify(&["runs", FAST, "--ndjson", "--jobs", "4"]);
    let reports = lines(&run.stdout);
    assert!(reports.iter().map(|report| &report.path).eq(&names));
    let first = &reports[0];
    assert_eq!(first.schema, "ckpt.report/1");
    assert_eq!((first.verdict, first.bytes, first.tensors), (ckpt::Verdict::Valid, 1, None));
    assert_eq!((first.level, first.passed), (Some(ckpt::Level::Size), Some(ckpt::Level::Size)));
    assert_eq!(first.integrity, ckpt::Integrity::None);
    let note = &first.findings[0];
    assert_eq!((note.code, note.level), (ckpt::Code::ContentsNotChecked, ckpt::Level::Size));
    assert!(note.verdict == ckpt::Verdict::Valid && !note.message.is_empty());
}

#[test]
fn one_thread_and_many_say_the_same() {
    let place = Place::with(&["a/1.pt", "a/2.pt", "b/3.pt", "c.pt"]);
    place.write("d.safetensors", EMPTY_SAFETENSORS);
    let with = |jobs| timeless(&place.verify(&[".", "--json", "-j", jobs]).stdout);
    assert_eq!(with("1"), with("7"));
}

#[test]
fn junit_has_a_case_per_checkpoint() {
    let place = Place::with(&["runs/a<b>.pt", "runs/b.pt"]);
    let run = place.verify(&["runs", "gone", FAST, "--quiet", "--junit", "report.xml"]);
    assert_eq!(run.code, Some(3));
    let xml = std::fs::read_to_string(place.at("report.xml")).unwrap();
    insta::assert_snapshot!(timeless(&xml), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="ckpt" tests="3" skipped="0" failures="0" errors="1" time="0">
        <testsuite name="ckpt verify" tests="3" skipped="0" errors="1" failures="0" time="0">
            <testcase name="runs/a&lt;b&gt;.pt" classname="unknown" time="0">
                <system-out>valid at level size: contents-not-checked: only presence, size and completion marker were checked, not the contents</system-out>
            </testcase>
            <testcase name="runs/b.pt" classname="unknown" time="0">
                <system-out>valid at level size: contents-not-checked: only presence, size and completion marker were checked, not the contents</system-out>
            </testcase>
            <testcase name="gone">
                <error message="gone: can&apos;t look at it: No such file or directory (os error 2)" type="directory"/>
            </testcase>
        </testsuite>
    </testsuites>
    "#);
}

#[test]
fn quiet_says_nothing_of_what_is_valid() {
    let run = Place::with(&["a.pt"]).verify(&[".", FAST, "-q"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn colour_is_for_terminals_and_those_who_ask() {
    let place = Place::with(&["a.pt"]);
    assert!(!place.verify(&[".", FAST]).stdout.contains('\x1b'));
    let forced = place.command().args(["verify", ".", FAST]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(forced.stdout.contains(&b'\x1b'));
}

#[test]
fn earlier_failures_are_shown() {
    let place = Place::with(&["runs/a|b.pt", "runs/c.pt"]);
    let log = "garbage\na\\x7cb.pt|corrupted empty: it has no bytes|2026-03-01T12:30:45Z\n\
               a\\x7cb.pt|corrupted empty: again\x1b[2J|2026-03-02T12:30:45Z\n";
    place.write("runs/failed_checkpoints.txt", log.as_bytes());
    insta::assert_snapshot!(place.verify(&["runs", FAST]).shown(), @r#"
    exit 0
    --- stdout
    VERDICT  PASSED     FORMAT         SIZE  TENSORS  INTEGRITY  PATH
    valid    size       unknown         1 B        -  none       runs/a|b.pt
             note: contents-not-checked: only presence, size and completion marker were checked, not the contents
             failed before: 2 times, last at 2026-03-02T12:30:45Z: corrupted empty: again\u{1b}[2J
    valid    size       unknown         1 B        -  none       runs/c.pt
             note: contents-not-checked: only presence, size and completion marker were checked, not the contents

    2 checkpoints, 2 B, in 0 ms: 2 valid
    --- stderr
    "#);
}

#[test]
fn a_log_without_failures_is_not_made() {
    let place = Place::with(&["runs/a.pt"]);
    assert_eq!(place.verify(&["runs", FAST, "--log-failures"]).code, Some(0));
    assert!(!place.at("runs/failed_checkpoints.txt").exists());
}

#[test]
fn a_broken_pipe_is_quiet() {
    let names: Vec<String> = (0..3000).map(|number| format!("runs/{number:04}.pt")).collect();
    let place = Place::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for format in [&["--ndjson"][..], &["--json"], &[]] {
        let mut command = place.command();
        command.args(["verify", "runs", FAST]).args(format).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(141), ""), "{format:?}");
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    const HOSTILE: &[u8] = b"runs/\x1b[2J\n\xffa|b\xe2\x80\xae.pt";

    #[test]
    fn hostile_names_reach_no_terminal() {
        let place = Place::with(&[]);
        place.write(OsStr::from_bytes(HOSTILE), b"x");
        let run = place.verify(&["runs", FAST]);
        assert!(run.stdout.contains(r"runs/\u{1b}[2J\n\xffa|b\u{202e}.pt"), "{}", run.stdout);
        let run = place.verify(&["runs", FAST, "--ndjson"]);
        assert!(run.stdout.is_ascii() || !run.stdout.contains('\u{202e}'));
        assert_eq!(lines(&run.stdout)[0].path, "runs/\u{1b}[2J\n\u{fffd}a|b\u{202e}.pt");
        let run = place.verify(&["\u{1b}[2Jgone", FAST]);
        assert_eq!(run.code, Some(3));
        assert!(!run.stderr.contains('\x1b') && run.stderr.contains(r"\u{1b}[2Jgone"), "{}", run.stderr);
    }

    #[test]
    fn a_link_to_nowhere_stops_nothing() {
        let place = Place::with(&["runs/b.pt"]);
        std::os::unix::fs::symlink("nowhere", place.at("runs/a.pt")).unwrap();
        let run = place.verify(&["runs", FAST, "--ndjson"]);
        let paths: Vec<_> = lines(&run.stdout).into_iter().map(|report| report.path).collect();
        assert_eq!(paths, ["runs/a.pt", "runs/b.pt"]);
    }
}

/// An option that needs the contents can't be had together with one that leaves them unread.
#[test]
fn what_needs_the_contents_excludes_what_skips_them() {
    let place = Place::with(&["a.pt"]);
    for skip in ["--skip-load", FAST] {
        for need in [&["--compat"][..], &["--require", "x"], &["--like", "a.pt"], &["--require-file", "a.pt"]]
        {
            let run = place.verify(&[&["a.pt", skip][..], need].concat());
            assert_eq!(run.code, Some(2), "{skip} {need:?}: {}", run.stderr);
            assert!(run.stderr.contains("cannot be used with"), "{}", run.stderr);
        }
    }
}
