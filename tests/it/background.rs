//! Saving in the background, to real disks: what is written, and who is told when it fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use ckpt::manager::background::{Job, OnFailure, Saver, SaverOptions};
use ckpt::manager::{Committed, Event, Notice, Semantic};
use ckpt::record::{CheckpointId, Position};
use ckpt::save::Format;
use ckpt::tensor::{TensorView, Value};
use ckpt::{Dtype, Error, SaveOptions, State, save};

/// Where the process that loses its saves writes them.
const PLACE: &str = "CKPT_TEST_BACKGROUND_PLACE";

fn id(step: u64) -> CheckpointId {
    CheckpointId { generation: 0, step }
}

/// Weights of several windows, many small ones, tied ones, and plain values.
fn weights(step: u64) -> Vec<Vec<u8>> {
    let lengths = [9 << 20, 4096, 5 << 20, 100_000].into_iter().chain((0..200).map(|at| 4 * at));
    let byte = |tensor: usize, at: usize| (at * 7 + (at >> 8) * 3 + tensor).to_le_bytes()[0];
    let step = step.to_le_bytes()[0];
    let tensor = |(tensor, len)| (0..len).map(|at| byte(tensor, at) ^ step).collect();
    lengths.enumerate().map(tensor).collect()
}

fn state(weights: &[Vec<u8>], step: u64) -> State<'_> {
    let mut state = State::new();
    for (number, bytes) in weights.iter().enumerate() {
        let shape = [bytes.len() as u64 / 4];
        let view = TensorView::new(Dtype::F32, shape, bytes.as_slice()).unwrap();
        state.insert(format!("layer.{number}"), view).unwrap();
    }
    state.alias("tied", "layer.2").unwrap();
    let entry = Value::from_iter([("step", i64::try_from(step).unwrap())].map(|(k, v)| (k, Value::from(v))));
    let inner = Value::from_iter([("w", entry)]);
    state.insert("optimizer", Value::from_iter([("state", inner)])).unwrap();
    state
}

fn options(step: u64, format: Format) -> SaveOptions {
    SaveOptions::default().with_format(format).with_position(Position::Step(step))
}

fn place(directory: &Path, step: u64) -> PathBuf {
    directory.join(format!("background-{step}"))
}

/// A saver of single files, which notes what is odd about them.
fn saver(directory: &Path, format: Format, how: SaverOptions) -> Saver {
    let (directory, mut look) = (directory.to_owned(), Semantic::default());
    let commit = move |job: &Job| {
        let path = place(&directory, job.id.step);
        let saved = save(&path, &job.state, &options(job.id.step, format))?;
        let mut committed = Committed::new(job.id, path, saved);
        committed.notices = look.at(&committed, &job.state);
        Ok(committed)
    };
    Saver::new(how, commit).unwrap()
}

#[test]
fn files_are_the_same_from_the_background() {
    for format in [Format::Safetensors, Format::Torch] {
        let directory = tempfile::tempdir().unwrap();
        let saver = saver(directory.path(), format, SaverOptions::default());
        // The first is copied in any order; the next ones are laid out as the file is, and written from there.
        for step in 1..=3 {
            let mut weights = weights(step);
            let front = directory.path().join("foreground");
            save(&front, &state(&weights, step), &options(step, format)).unwrap();
            let ticket = saver.submit(id(step), step, &state(&weights, step)).unwrap();
            for bytes in &mut weights {
                bytes.fill(0xEE);
            }
            let outcome = ticket.wait().unwrap();
            let committed = outcome.committed().unwrap();
            assert_eq!(committed.notices, []);
            let (ours, theirs) = (std::fs::read(&front).unwrap(), std::fs::read(&committed.path).unwrap());
            assert!(ours == theirs, "{format:?}, step {step}");
        }
        saver.finish().unwrap();
    }
}

#[test]
fn a_loop_that_trains_nothing_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let saver = saver(directory.path(), Format::Safetensors, SaverOptions::default());
    let weights = weights(1);
    let notices = |step| {
        let outcome = saver.submit(id(step), step, &state(&weights, 5)).unwrap().wait().unwrap();
        outcome.committed().unwrap().notices.clone()
    };
    assert_eq!(notices(5), []);
    let path = "optimizer.state.w.step".to_owned();
    assert_eq!(notices(6), [Notice::NothingChanged(id(5)), Notice::OptimizerStep { path, steps: 5 }]);
}

#[test]
fn a_place_that_is_not_there_is_told_at_once_and_to_all_who_ask() {
    let saver = saver(Path::new("/nowhere/at/all"), Format::Safetensors, SaverOptions::default());
    let weights = weights(1);
    let ticket = saver.submit(id(1), 1, &state(&weights, 1)).unwrap();
    for error in [ticket.wait().map(drop), saver.finish(), saver.submit(id(2), 2, &State::new()).map(drop)] {
        let error: Error = error.unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/at/all/background-1: "), "{error}");
    }
}

/// Loses two saves, and asks for them or doesn't.
fn lose_saves(place: &str) {
    let mut options = SaverOptions::default().with_on_failure(OnFailure::GoOn);
    if place.ends_with("heard") {
        options = options.with_reporter(std::sync::Arc::new(|_: &Event<'_>| {}));
    }
    let saver = saver(Path::new(place), Format::Safetensors, options);
    for step in 1..=2 {
        let ticket = saver.submit(id(step), step, &State::new()).unwrap();
        if place.ends_with("asked") {
            assert!(ticket.wait().is_err());
        }
    }
}

/// The saves are lost in a process of its own, whose words are read.
#[test]
fn what_nobody_asks_for_is_printed_in_the_end() {
    if let Ok(place) = std::env::var(PLACE) {
        lose_saves(&place);
        return;
    }
    let said = |place: &str| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "background::what_nobody_asks_for_is_printed_in_the_end", "--nocapture"])
            .env(PLACE, place);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let lost = said("/nowhere/lost");
    for step in 1..=2 {
        let line = format!("ckpt: step-000000000{step} isn't saved: /nowhere/lost/background-{step}: ");
        assert_eq!(lost.matches(&line).count(), 1, "{lost}");
    }
    // That the work goes on is said when it happens; what a ticket told isn't said again.
    for (place, count) in [("/nowhere/lost", 2), ("/nowhere/asked", 2), ("/nowhere/heard", 0)] {
        let text = said(place);
        assert_eq!(text.matches("isn't saved, and the work goes on: ").count(), count, "{text}");
        assert_eq!(text.contains("isn't saved: "), place == "/nowhere/lost", "{text}");
    }
}
