//! Saves while the work goes on, what follows them, and when they are due.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckpt::manager::background::{OnFailure, Outcome, SaverOptions, WhenBusy};
use ckpt::manager::retention::Policy;
use ckpt::manager::triggers::{Deadline, Due, TriggerOptions, Why};
use ckpt::manager::{Event, Manager, ManagerOptions, Notice, SaveRequest};
use ckpt::record::CheckpointId;
use ckpt::tensor::TensorView;
use ckpt::{Dtype, LoadOptions, SaveOptions, State, Verdict, VerifyOptions, verify};

/// Options of saves that don't wait for the device.
fn options() -> ManagerOptions {
    let mut save = SaveOptions::default().with_threads(1);
    save.durability = ckpt::io::commit::Durability::None;
    ManagerOptions::default().with_save(save)
}

fn state(weights: &[u8]) -> State<'_> {
    let view = TensorView::new(Dtype::U8, [weights.len() as u64], weights).unwrap();
    let mut state = State::new();
    state.insert("model.weight", view).unwrap();
    state
}

fn steps(manager: &Manager) -> Vec<u64> {
    manager.list().unwrap().iter().map(|listed| listed.id.step).collect()
}

/// A further file of this name can't be.
fn refused(step: u64) -> SaveRequest {
    SaveRequest::at(step).with_artifact("manifest.json", "mine")
}

#[test]
fn a_loop_that_saves_in_the_background_leaves_what_its_policy_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let removed = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&removed);
    // What isn't durable lets nothing go.
    let options = ManagerOptions::default()
        .with_retention(Policy::default().keep_last(2).keep_every("40".parse().unwrap()))
        .with_triggers(TriggerOptions::default().every_steps(10))
        .with_reporter(move |event| {
            if let Event::Pruned { removed, error } = event {
                assert!(error.is_none(), "{error:?}");
                heard.lock().unwrap().extend(removed.iter().map(|id| id.step));
            }
        });
    let manager = Manager::open(directory.path(), options.clone()).unwrap();
    let mut weights = vec![0_u8; 300_000];
    manager.prepare(&state(&weights)).unwrap();
    let mut saved = 0;
    for step in 1..=75_u8 {
        weights.fill(step);
        if let Some(due) = manager.should_save(step.into()) {
            assert_eq!(due, Due::Save(Why::Steps(10)));
            manager.save_async(u64::from(step), &state(&weights)).unwrap().wait().unwrap();
            saved += 1;
        }
        // What is trained on goes on changing.
        weights.fill(0xff);
    }
    assert_eq!(saved, 7);
    manager.finish().unwrap();
    let manager = Manager::open(directory.path(), options).unwrap();
    // The first of each 40 steps, and the last two.
    assert_eq!(steps(&manager), [10, 40, 60, 70]);
    assert_eq!(*removed.lock().unwrap(), [20, 30, 50]);
    for listed in manager.list().unwrap() {
        assert_eq!(verify(&listed.path, &VerifyOptions::default()).verdict, Verdict::Valid);
        let loaded = ckpt::load(&listed.path.join("state.safetensors"), &LoadOptions::default()).unwrap();
        let bytes = loaded.tensor("model.weight").unwrap().bytes().unwrap().into_owned();
        assert!(bytes.iter().all(|byte| u64::from(*byte) == listed.id.step), "{}", listed.id);
    }
    let resumed = manager.resume().unwrap().unwrap();
    assert_eq!((resumed.step(), resumed.skipped.len()), (70, 0));
    // Both kinds of saves make one chain.
    let next = manager.save(80, &state(&weights)).unwrap();
    let last = manager.save_async(90, &state(&weights)).unwrap().wait().unwrap();
    let last = last.committed().unwrap();
    assert_eq!(manager.run().manifest(last.id).unwrap().parent, Some(next.id));
    assert_eq!(last.notices, [Notice::NothingChanged(next.id)]);
}

#[test]
fn a_save_that_failed_is_told_by_all_that_follow() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Manager::open(directory.path(), options()).unwrap();
    let ticket = manager.save_async(refused(1), &State::new()).unwrap();
    let why = ticket.wait().unwrap_err().to_string();
    assert!(why.contains("'manifest.json'"), "{why}");
    let told = format!("{why}; step-0000000001 isn't saved");
    assert_eq!(manager.save_async(2, &State::new()).unwrap_err().to_string(), told);
    assert_eq!(manager.save(2, &State::new()).unwrap_err().to_string(), told);
    assert_eq!(manager.resume().unwrap_err().to_string(), told);
    assert!(steps(&manager).is_empty());
    assert_eq!(manager.finish().unwrap_err().to_string(), told);
}

#[test]
fn where_the_work_goes_on_after_a_failure_the_end_tells_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let failed = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&failed);
    let options = options()
        .with_reporter(move |event| {
            if let Event::Failed { id, .. } = event {
                heard.lock().unwrap().push(id.step);
            }
        })
        .with_saver(SaverOptions::default().with_on_failure(OnFailure::GoOn));
    let manager = Manager::open(directory.path(), options).unwrap();
    manager.save_async(refused(1), &State::new()).unwrap().wait().unwrap_err();
    manager.save(refused(2), &State::new()).unwrap_err();
    let third = manager.save(3, &State::new()).unwrap();
    assert_eq!(third.id, CheckpointId { generation: 0, step: 3 });
    assert_eq!(*failed.lock().unwrap(), [1, 2]);
    let error = manager.finish().unwrap_err().to_string();
    assert!(error.contains("step-0000000001"), "{error}");
}

#[test]
fn a_save_that_is_left_out_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (go_on, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let options = options().with_saver(SaverOptions::default().with_when_busy(WhenBusy::Skip)).with_reporter(
        move |event| {
            if matches!(event, Event::Saved(_)) {
                // As long as somebody listens to this, the save is in flight.
                wait.lock().unwrap().recv().unwrap_or(());
            }
        },
    );
    let manager = Manager::open(directory.path(), options).unwrap();
    let first = manager.save_async(1, &State::new()).unwrap();
    let second = manager.save_async(2, &State::new()).unwrap();
    assert!(matches!(second.wait(), Ok(Outcome::Skipped)));
    go_on.send(()).unwrap();
    assert!(first.wait().unwrap().committed().is_some());
    drop(go_on);
    assert_eq!(manager.save(3, &State::new()).unwrap().id.generation, 0);
    assert_eq!(steps(&manager), [1, 3]);
    manager.finish().unwrap();
}

#[test]
fn the_last_save_before_a_deadline_is_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let triggers = TriggerOptions::default()
        .every_steps(1)
        .before(Deadline::After(Duration::from_hours(1)))
        .with_margin(Duration::from_secs(10));
    let manager = Manager::open(directory.path(), options().with_triggers(triggers)).unwrap();
    assert!(manager.time_left().is_some() && manager.ending().is_none());
    assert_eq!(manager.should_save(1), Some(Due::Save(Why::Steps(1))));
    manager.save(1, &State::new()).unwrap();
    // The machine is taken away sooner than was said.
    manager.end_by(Deadline::After(Duration::from_secs(5)));
    let due = manager.should_save(2).unwrap();
    assert!(due.is_final() && due.why() == Why::Deadline, "{due}");
    manager.save(2, &State::new()).unwrap();
    assert_eq!(manager.should_save(3), None);
    assert_eq!(steps(&manager), [1, 2]);
}

#[test]
fn what_a_plan_lets_go_is_removed_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Manager::open(directory.path(), options()).unwrap();
    for step in 1..=4 {
        manager.save(step, &state(&[1])).unwrap();
    }
    manager.run().pin(CheckpointId { generation: 0, step: 1 }, "the paper's").unwrap();
    let plan = manager.plan(&Policy::default().keep_last(1)).unwrap();
    assert_eq!(steps(&manager), [1, 2, 3, 4], "a plan touches nothing");
    let removed: Vec<_> = manager.prune(&plan).unwrap().iter().map(|id| id.step).collect();
    assert_eq!((removed, steps(&manager)), (vec![2, 3], vec![1, 4]));
    assert!(Manager::open(directory.path(), options().with_retention(Policy::default())).is_err());
}

/// Flips a bit of the data of a step's state: a look at the head doesn't show it.
fn flip(manager: &Manager, step: u64) {
    let path = manager.run().path(CheckpointId { generation: 0, step }).join("state.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn what_a_resume_skipped_takes_nobodys_place() {
    let directory = tempfile::tempdir().unwrap();
    let options = ManagerOptions::default().with_retention(Policy::default().keep_last(2));
    let manager = Manager::open(directory.path(), options).unwrap();
    for step in [100, 200] {
        manager.save(step, &state(&[7; 5000])).unwrap();
    }
    flip(&manager, 200);
    let resumed = manager.resume().unwrap().unwrap();
    assert_eq!((resumed.step(), resumed.skipped.len()), (100, 1));
    let plan = manager.plan(&Policy::default().keep_last(1)).unwrap();
    assert_eq!(plan.removals().count(), 0, "100 is the newest that is known to be good");
    manager.save(150, &state(&[8; 5000])).unwrap();
    assert_eq!(steps(&manager), [100, 200, 150]);
    manager.finish().unwrap();
}

#[test]
fn a_metric_that_nobody_measured_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let policy = Policy::default().keep_last(1).keep_best("val_los:min:2".parse().unwrap());
    let manager = Manager::open(directory.path(), ManagerOptions::default().with_retention(policy)).unwrap();
    for step in 1..=3 {
        manager.save(SaveRequest::at(step).with_metric("val_loss", 0.5), &State::new()).unwrap();
    }
    assert_eq!(steps(&manager), [1, 2, 3]);
    let error = manager.finish().unwrap_err().to_string();
    assert!(error.contains("'val_los'"), "{error}");
}

#[test]
fn the_last_save_is_tried_whatever_failed_before() {
    let directory = tempfile::tempdir().unwrap();
    let triggers = TriggerOptions::default().every_steps(1).before(Deadline::After(Duration::from_hours(1)));
    let manager = Manager::open(directory.path(), options().with_triggers(triggers)).unwrap();
    manager.save_async(refused(1), &State::new()).unwrap().wait().unwrap_err();
    manager.end_by(Deadline::After(Duration::from_secs(1)));
    assert!(manager.should_save(2).unwrap().is_final());
    manager.save(2, &State::new()).unwrap();
    assert_eq!(steps(&manager), [2]);
    let error = manager.finish().unwrap_err().to_string();
    assert!(error.contains("step-0000000001 isn't saved"), "{error}");
}

#[test]
fn an_interval_comes_round_again_after_a_failure_and_after_a_resume() {
    let directory = tempfile::tempdir().unwrap();
    let triggers = TriggerOptions::default().every_steps(10);
    let manager = Manager::open(directory.path(), options().with_triggers(triggers.clone())).unwrap();
    manager.save(10, &State::new()).unwrap();
    // Another writer has the run.
    let second = Manager::open(directory.path(), options().with_triggers(triggers)).unwrap();
    assert!(second.should_save(10).is_some());
    second.save(10, &State::new()).unwrap_err();
    assert!(second.should_save(20).is_some());
    second.save_async(20, &State::new()).unwrap_err();
    assert!(second.should_save(30).is_some());
    // Nobody answers for this one: the loop goes back instead.
    assert_eq!(second.resume().unwrap().unwrap().step(), 10);
    assert!(second.should_save(15).is_none() && second.should_save(20).is_some());
}

#[cfg(unix)]
#[test]
fn a_branch_on_a_disk_that_is_not_there_is_no_new_run() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(directory.path().join("mount/run"), directory.path().join("main")).unwrap();
    let error = Manager::open(directory.path(), options()).unwrap_err().to_string();
    assert!(error.contains("leads to nothing"), "{error}");
}
