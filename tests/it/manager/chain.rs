//! What a checkpoint is called, and what it goes on from.

use std::fs;
use std::sync::{Arc, Mutex};

use ckpt::manager::{Manager, ManagerOptions, Notice, SaveRequest};
use ckpt::{Dtype, State};

use super::{STATE, change, file, open, run_of, save_all, state};

/// Returns names and parents, in the run's order.
fn history(manager: &Manager) -> Vec<(String, Option<String>)> {
    let line = |listed: ckpt::record::Listed| {
        assert!(listed.is_whole(), "{listed:?}");
        (listed.id.to_string(), listed.manifest.unwrap().parent.map(|parent| parent.to_string()))
    };
    manager.list().unwrap().into_iter().map(line).collect()
}

fn names(history: &[(String, Option<String>)]) -> Vec<(&str, Option<&str>)> {
    history.iter().map(|(id, parent)| (&id["step-0000000".len()..], parent.as_deref())).collect()
}

#[test]
fn after_a_walk_back_a_new_generation_goes_on_from_the_good_one() {
    let (directory, manager) = run_of(&[100, 200, 300]);
    manager.finish().unwrap();
    let manager = open(&directory.path().join("run"));
    let newest = file(&manager, 300, STATE);
    let bytes = fs::read(&newest).unwrap();
    change(&newest, |bytes| bytes[5000] ^= 1);
    assert_eq!(manager.resume().unwrap().unwrap().step(), 200);
    let committed = manager.save(300, &state(300, Dtype::F32)).unwrap();
    let [Notice::NewGeneration(before)] = committed.notices[..] else { panic!("{committed:?}") };
    assert_eq!(before.to_string(), "step-0000000300");
    assert!(manager.save(400, &state(400, Dtype::F32)).unwrap().notices.is_empty());
    fs::write(&newest, bytes).unwrap();
    let found = history(&manager);
    let expected = [
        ("100", None),
        ("200", Some("step-0000000100")),
        ("300", Some("step-0000000200")),
        ("300-g1", Some("step-0000000200")),
        ("400-g1", Some("step-0000000300-g1")),
    ];
    assert_eq!(names(&found), expected);
    assert_eq!(manager.resume().unwrap().unwrap().id.to_string(), "step-0000000400-g1");
}

#[test]
fn a_resumed_run_goes_on_where_it_was() {
    let (directory, manager) = run_of(&[100, 200]);
    manager.finish().unwrap();
    let manager = open(&directory.path().join("run"));
    manager.resume().unwrap().unwrap();
    assert!(manager.save(300, &state(300, Dtype::F32)).unwrap().notices.is_empty());
    let found = history(&manager);
    assert_eq!(names(&found)[2], ("300", Some("step-0000000200")));
    // A step that is reached again, without a resume.
    let again = manager.save(300, &state(300, Dtype::F32)).unwrap();
    assert_eq!((again.id.to_string().as_str(), again.notices.len()), ("step-0000000300-g1", 1));
}

#[test]
fn a_second_writer_is_told_who_is_first_and_reads_meanwhile() {
    let (directory, first) = run_of(&[100]);
    if !first.run().lock().is_err_and(|error| error.to_string().contains("another writer")) {
        println!("skipped: locks don't work in {}", directory.path().display());
        return;
    }
    let second = open(first.run().directory());
    let error = second.save(200, &State::new()).unwrap_err().to_string();
    let process = format!("process {}", std::process::id());
    assert!(error.contains("another writer has the run") && error.contains(&process), "{error}");
    assert_eq!(second.resume().unwrap().unwrap().step(), 100);
    assert_eq!(second.list().unwrap().len(), 1);
    first.finish().unwrap();
    save_all(&second, &[200]).unwrap();
    assert_eq!(second.list().unwrap().len(), 2);
}

#[test]
fn metrics_that_are_no_numbers_are_left_out() {
    let (_directory, manager) = run_of(&[]);
    let request = SaveRequest::at(100)
        .with_metric("loss", f64::NAN)
        .with_metric("best", f64::NEG_INFINITY)
        .with_metric("accuracy", 0.75)
        .with_metadata("host", "a7");
    let committed = manager.save(request, &State::new()).unwrap();
    let manifest = manager.run().manifest(committed.id).unwrap();
    assert_eq!(manifest.metrics.into_iter().collect::<Vec<_>>(), [("accuracy".to_owned(), 0.75)]);
    assert_eq!(manifest.metadata["host"], "a7");
    assert!(manifest.artifacts.iter().all(|artifact| artifact.proven && artifact.validated.is_some()));
}

#[test]
fn names_of_further_files_are_names_of_files() {
    let (_directory, manager) = run_of(&[]);
    for name in
        ["", "..", "a/b", "a\\b", "manifest.json", "State.safetensors.done", ".ckpt-0123456789abcdef.tmp"]
    {
        let error = manager.save(SaveRequest::at(100).with_artifact(name, "x"), &State::new()).unwrap_err();
        assert!(error.to_string().contains("can't be the name"), "{name}: {error}");
    }
    assert!(manager.list().unwrap().is_empty());
    manager.save(SaveRequest::at(100).with_artifact("state.json", "x"), &State::new()).unwrap();
}

#[test]
fn an_error_names_the_place_that_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let save = ckpt::SaveOptions::default().with_format(ckpt::save::Format::TorchFlat);
    let manager = Manager::open(directory.path(), ManagerOptions::default().with_save(save)).unwrap();
    // A flat map of tensors has no place for a number.
    let error = manager.save(100, &state(100, Dtype::F32)).unwrap_err();
    let meant = manager.run().branch().join("step-0000000100/state.pt");
    assert_eq!(error.path(), Some(&*meant), "{error}");
    assert!(manager.list().unwrap().is_empty());
    assert_eq!(fs::read_dir(manager.run().branch()).unwrap().count(), 0);
}

#[test]
fn the_reporter_hears_of_each_save() {
    let directory = tempfile::tempdir().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let options = ManagerOptions::default()
        .with_reporter(move |event| listener.lock().unwrap().push(event.to_string()));
    let manager = Manager::open(directory.path(), options).unwrap();
    manager.save(1, &State::new()).unwrap();
    manager.save(SaveRequest::at(2).with_artifact("..", ""), &State::new()).unwrap_err();
    let heard = heard.lock().unwrap();
    assert!(heard[0].starts_with("step-0000000001 saved") && heard[1].starts_with("step-0000000002 isn't"));
}
