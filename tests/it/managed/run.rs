//! A run as a whole: what is found in it, copied, and read again.

use std::fs;

use ckpt::save::{CopyOptions, Scrub, ScrubOptions, copy};
use ckpt::validate::{Batch, Look, discover, parts};
use ckpt::{ErrorKind, Level, Verdict, VerifyOptions};

use super::{FIRST, Place, SECOND, check};

/// The names of what is found in a run.
fn found(place: &Place, look: Look) -> Vec<String> {
    let found = discover([place.run()], look);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let name = |path: &std::path::Path| path.strip_prefix(place.run()).unwrap().to_str().unwrap().to_owned();
    found.candidates.iter().map(|candidate| name(&candidate.path)).collect()
}

#[test]
fn each_step_is_one_checkpoint_and_nothing_else_is() {
    let place = Place::with(&[FIRST, SECOND]);
    // What is being written, or was being written when the power went.
    let staged = place.at(".ckpt-0123456789abcdef.tmp");
    fs::create_dir(&staged).unwrap();
    fs::copy(place.at(FIRST).join("state.safetensors"), staged.join("state.safetensors")).unwrap();
    fs::write(place.at("pins").join(FIRST), "the paper's").unwrap();
    let unfinished = place.at("step-0000001400");
    fs::create_dir(&unfinished).unwrap();
    fs::create_dir(place.at(FIRST).join("logs")).unwrap();
    fs::write(place.at(FIRST).join("logs/x.pt"), "").unwrap();
    for look in [Look::Contents, Look::Names] {
        assert_eq!(
            found(&place, look),
            [FIRST, SECOND, "step-0000001400"].map(|name| format!("main/{name}"))
        );
    }
    let candidates = discover([place.run()], Look::Contents).candidates;
    let reports: Vec<_> = Batch::new(candidates, VerifyOptions::default().with_threads(2)).collect();
    let verdicts: Vec<_> = reports.iter().map(|report| report.verdict).collect();
    assert_eq!(verdicts, [Verdict::Valid, Verdict::Valid, Verdict::Corrupted]);
}

#[test]
fn a_named_step_is_found_as_well() {
    let place = Place::with(&[FIRST]);
    let found = discover([place.at(FIRST)], Look::Contents);
    assert_eq!(found.candidates.len(), 1);
    assert_eq!(found.candidates[0].path, place.at(FIRST));
    let files = fs::read_dir(place.at(FIRST)).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!(found.candidates[0].bytes, files.sum::<u64>());
}

#[test]
fn an_empty_run_has_no_checkpoint() {
    let place = Place::with(&[]);
    let found = discover([place.run()], Look::Contents);
    assert!(found.candidates.is_empty());
    assert_eq!(found.problems[0].kind(), ErrorKind::Nothing);
}

#[test]
fn the_manifest_is_the_last_of_its_parts() {
    let place = Place::with(&[FIRST]);
    fs::write(place.at(FIRST).join("added.txt"), "later").unwrap();
    let parts = parts(&place.at(FIRST)).unwrap();
    let names: Vec<_> = parts
        .files
        .iter()
        .map(|part| (part.path.file_name().unwrap().to_str().unwrap(), part.is_state))
        .collect();
    let expected =
        [("state.safetensors", true), ("config.json", false), ("added.txt", false), ("manifest.json", false)];
    assert_eq!(names, expected);
}

#[test]
fn a_copy_is_a_checkpoint_wherever_it_is() {
    let place = Place::with(&[FIRST, SECOND]);
    for name in ["best", "elsewhere"] {
        let to = place.at(name);
        if name == "elsewhere" {
            fs::create_dir(&to).unwrap();
        }
        let copied = copy(&place.at(FIRST), &to, &CopyOptions::default()).unwrap();
        assert_eq!(copied.files.len(), 3);
        let report = check(&copied.destination, Level::Load);
        assert_eq!((report.verdict, report.findings.len()), (Verdict::Valid, 0), "{report:?}");
    }
    // A copy under another checkpoint's name would be no checkpoint.
    let error = copy(&place.at(FIRST), &place.at("step-0000009999"), &CopyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(!place.at("step-0000009999").exists());
    fs::remove_file(place.at(SECOND).join("config.json")).unwrap();
    let error = copy(&place.at(SECOND), &place.at("other"), &CopyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
}

#[test]
fn a_scrub_reads_each_step_and_remembers_it() {
    let place = Place::with(&[FIRST, SECOND]);
    let mut scrub = Scrub::begin(&place.run(), ScrubOptions::default()).unwrap();
    assert!(scrub.all(|report| report.is_valid()));
    assert_eq!(scrub.finish().unwrap().checked, 2);
    let config = place.at(SECOND).join("config.json");
    fs::write(&config, "{\"lr\": 0.2}").unwrap();
    let scrub = Scrub::begin(&place.run(), ScrubOptions::default()).unwrap();
    let verdicts: Vec<_> = scrub.map(|report| report.verdict).collect();
    // What changed was never verified, and comes first.
    assert_eq!(verdicts, [Verdict::Corrupted, Verdict::Valid]);
}
