//! Files that aren't needed any more.

use std::fs;

use ckpt::Error;
use ckpt::pipeline::{Pipeline, PipelineOptions, Ran, StageRun};
use ckpt::record::{CleanupEntry, CleanupReason, Lifetime};

use super::{Place, STAGES};

/// Does a stage that leaves a file of each lifetime, and reads the earlier stage's intermediate one.
fn work(run: &mut StageRun, reads: Option<&str>) -> Result<(), Error> {
    if let Some(earlier) = reads {
        run.input(format!("{earlier}.consumed"))?;
    }
    for (suffix, lifetime) in [
        ("kept", Lifetime::Keep),
        ("temporary", Lifetime::UntilCompleted),
        ("consumed", Lifetime::UntilConsumed),
    ] {
        let path = run.output_with(format!("{}.{suffix}", run.name()), lifetime)?;
        fs::write(path, suffix).unwrap();
    }
    Ok(())
}

fn run(pipeline: &mut Pipeline, number: usize) -> Ran {
    let reads = number.checked_sub(1).map(|earlier| STAGES[earlier]);
    pipeline.run(STAGES[number], |stage| work(stage, reads)).unwrap()
}

fn goes(pipeline: &Pipeline) -> Vec<String> {
    pipeline.plan_cleanup().removals().map(|entry| entry.path.clone()).collect()
}

fn reason(pipeline: &Pipeline, path: &str) -> CleanupReason {
    let plan = pipeline.plan_cleanup();
    plan.files.iter().find(|entry| entry.path == path).unwrap().reason.clone()
}

#[test]
fn files_go_when_their_time_is_over() {
    let place = Place::new();
    let mut pipeline = place.open();
    run(&mut pipeline, 0);
    assert!(goes(&pipeline).is_empty());
    assert_eq!(reason(&pipeline, "extract.consumed"), CleanupReason::NotRead);
    assert_eq!(reason(&pipeline, "extract.temporary"), CleanupReason::NotCompleted);
    assert_eq!(reason(&pipeline, "extract.kept"), CleanupReason::Kept);
    run(&mut pipeline, 1);
    assert_eq!(goes(&pipeline), ["extract.consumed"]);
    run(&mut pipeline, 2);
    let expected =
        ["extract.temporary", "extract.consumed", "merge.temporary", "merge.consumed", "predict.temporary"];
    assert_eq!(goes(&pipeline), expected);

    let plan = pipeline.plan_cleanup();
    assert_eq!(plan.freed_bytes(), 3 * 9 + 2 * 8);
    assert!(place.at("extract.temporary").exists(), "a plan touches nothing");
    let removed = pipeline.clean_up(&plan).unwrap();
    assert_eq!(removed.len(), 5);
    assert!(removed.iter().all(|path| !path.exists()));
    assert!(goes(&pipeline).is_empty() && pipeline.clean_up(&plan).unwrap().is_empty());
    drop(pipeline);
    // That they are gone is no reason to do a stage again.
    let mut pipeline = place.open();
    assert_eq!((pipeline.next(), pipeline.notices()), (None, &[][..]));
    assert!((0..3).all(|number| run(&mut pipeline, number) == Ran::Skipped));
    // Done again, it leaves them again.
    pipeline.reset("extract").unwrap();
    assert_eq!(run(&mut pipeline, 0), Ran::Done);
    assert!(place.at("extract.temporary").exists());
    assert_eq!(reason(&pipeline, "extract.temporary"), CleanupReason::NotCompleted);
}

#[test]
fn what_is_not_as_the_stage_left_it_stays() {
    let place = Place::new();
    let mut pipeline = place.open();
    assert!((0..3).all(|number| run(&mut pipeline, number) == Ran::Done));
    let plan = pipeline.plan_cleanup();
    fs::write(place.at("extract.temporary"), "somebody's notes").unwrap();
    assert!(matches!(reason(&pipeline, "extract.temporary"), CleanupReason::Changed { .. }));
    assert_eq!(pipeline.clean_up(&plan).unwrap().len(), 4);
    assert_eq!(fs::read_to_string(place.at("extract.temporary")).unwrap(), "somebody's notes");
}

#[test]
fn what_others_keep_or_still_read_stays() {
    let place = Place::new();
    fs::write(place.at("genes.fa"), "ACGT").unwrap();
    let options = PipelineOptions::default().with_source("genes.fa");
    let mut pipeline = Pipeline::open(place.state(), ["a", "b"], options).unwrap();
    let leave = |run: &mut StageRun| -> Result<(), Error> {
        fs::write(run.output_with("x", Lifetime::UntilCompleted)?, "x").unwrap();
        run.output_with("genes.fa", Lifetime::UntilCompleted)?;
        fs::create_dir_all(run.output_with("shards", Lifetime::UntilConsumed)?).unwrap();
        fs::write(place.at("shards/1"), "one").unwrap();
        Ok(())
    };
    pipeline.run("a", leave).unwrap();
    // The second stage keeps what the first one would let go, and reads a file of its directory, and fails.
    let read = |run: &mut StageRun| -> Result<(), Error> {
        run.output("x")?;
        run.input("shards/1").map(drop)
    };
    let failed = pipeline.run("b", |run: &mut StageRun| {
        read(run)?;
        Err(Error::usage("not yet"))
    });
    failed.unwrap_err();
    assert_eq!(reason(&pipeline, "shards"), CleanupReason::Needed { by: "b".to_owned() });
    pipeline.run("b", read).unwrap();
    let needed = |path| reason(&pipeline, path);
    assert_eq!(needed("x"), CleanupReason::Needed { by: "b".to_owned() });
    assert!(matches!(needed("genes.fa"), CleanupReason::Needed { .. }));
    assert_eq!(goes(&pipeline), ["shards"]);
    let plan = pipeline.plan_cleanup();
    assert_eq!(pipeline.clean_up(&plan).unwrap().len(), 1);
    assert!(!place.at("shards").exists() && place.at("x").exists());
}

#[test]
fn a_plan_is_made_of_records() {
    let entry = CleanupEntry::new("a", "x", 7, CleanupReason::Needed { by: "b".to_owned() });
    let json = serde_json::to_value(&entry).unwrap();
    let expected = serde_json::json!({
        "stage": "a", "path": "x", "bytes": 7, "remove": false, "reason": {"reason": "needed", "by": "b"}
    });
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<CleanupEntry>(json).unwrap(), entry);
}
