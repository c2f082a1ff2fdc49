//! Stages that somebody looks at before the work goes on.

use std::fs;

use ckpt::manager::Run;
use ckpt::pipeline::{Approval, Pipeline, PipelineOptions, Ran, Stage};
use ckpt::record::{Edit, PipelineStatus, StageStatus};

use super::Place;

fn stages() -> [Stage; 3] {
    ["extract".into(), Stage::new("merge").with_review(), "predict".into()]
}

/// A pipeline that waits for the review of its second stage; the process that did it is gone.
fn paused() -> Place {
    let place = Place::new();
    let mut pipeline = place.open_stages(stages());
    assert_eq!(place.run(&mut pipeline, "extract"), Ran::Done);
    assert_eq!(place.run(&mut pipeline, "merge"), Ran::AwaitingReview);
    // What comes behind isn't begun.
    assert_eq!(place.run(&mut pipeline, "predict"), Ran::AwaitingReview);
    assert_eq!(place.done.borrow().len(), 2);
    place
}

#[test]
fn a_pipeline_stops_for_a_review_and_goes_on_after_it() {
    let place = paused();
    let state = Pipeline::read(place.state()).unwrap().unwrap();
    assert_eq!((state.status, state.stages_complete.join(" ").as_str()), (PipelineStatus::Paused, "extract"));
    let mut pipeline = place.open_stages(stages());
    assert_eq!((pipeline.next(), pipeline.awaiting_review()), (None, Some("merge")));
    assert_eq!(place.run(&mut pipeline, "extract"), Ran::Skipped);
    assert!(pipeline.begin("extract").unwrap().is_none());
    assert!(pipeline.begin("merge").unwrap_err().to_string().contains("waits for its review"));
    assert!(pipeline.begin("predict").unwrap_err().to_string().contains("waits for its review"));
    assert!(pipeline.approve("extract", Approval::default()).is_err());
    // What is to be done anew would take the work away that waits.
    drop(pipeline);
    fs::rename(place.at("extract.txt"), place.at("elsewhere")).unwrap();
    let mut pipeline = place.open_stages(stages());
    assert!(pipeline.begin("extract").unwrap_err().to_string().contains("waits for its review"));
    drop(pipeline);
    fs::rename(place.at("elsewhere"), place.at("extract.txt")).unwrap();
    let mut pipeline = place.open_stages(stages());

    let edits = pipeline.approve("merge", Approval::default().by("ada").with_note("fine")).unwrap();
    assert_eq!(edits, []);
    let review = pipeline.state().stage("merge").unwrap().review.clone().unwrap();
    assert_eq!((review.by.as_deref(), review.note.as_deref()), (Some("ada"), Some("fine")));
    assert!(review.approved.is_some_and(|approved| approved >= review.requested));
    assert_eq!(pipeline.next(), Some("predict"));
    assert_eq!(place.run(&mut pipeline, "predict"), Ran::Done);
    assert!(pipeline.approve("merge", Approval::default()).is_err(), "it is approved already");
}

#[test]
fn an_edited_output_is_recorded_and_counts_from_then_on() {
    let place = paused();
    fs::write(place.at("merge.txt"), "what ada made of it").unwrap();
    let before = Pipeline::read(place.state()).unwrap().unwrap().stages[1].outputs[0].digest.clone();
    let mut pipeline = place.open_stages(stages());
    let edits = pipeline.approve("merge", Approval::default()).unwrap();
    let after = pipeline.state().stage("merge").unwrap().outputs[0].digest.clone();
    assert_eq!(edits, [Edit::new("merge.txt", before, after)]);
    // What was edited is another result, and a checkpoint of its own.
    let run = Run::open(&place.at("pipeline.stages")).unwrap();
    let checkpoint = pipeline.state().stage("merge").unwrap().checkpoint.unwrap();
    assert_eq!(checkpoint.to_string(), "step-0000000002-g1");
    assert!(fs::read_to_string(run.path(checkpoint).join("stage.json")).unwrap().contains(&edits[0].after));
    place.run(&mut pipeline, "predict");
    drop(pipeline);
    let pipeline =
        Pipeline::open(place.state(), stages(), PipelineOptions::default().with_level(ckpt::Level::Load));
    let pipeline = pipeline.unwrap();
    assert_eq!((pipeline.next(), pipeline.notices()), (None, &[][..]));
    assert_eq!(fs::read_to_string(place.at("merge.txt")).unwrap(), "what ada made of it");
}

#[test]
fn what_is_gone_is_not_approved() {
    let place = paused();
    fs::remove_file(place.at("merge.txt")).unwrap();
    let mut pipeline = place.open_stages(stages());
    let error = pipeline.approve("merge", Approval::default()).unwrap_err();
    assert!(error.to_string().contains("put it back"), "{error}");
    assert_eq!(pipeline.status(), PipelineStatus::Paused);
}

#[test]
fn a_stage_that_was_not_good_is_done_anew() {
    let place = paused();
    let mut pipeline = place.open_stages(stages());
    pipeline.reset("merge").unwrap();
    assert_eq!(pipeline.next(), Some("merge"));
    assert_eq!(pipeline.state().stage("merge").unwrap().status, StageStatus::NotStarted);
    assert!(place.at("merge.txt").exists());
    assert_eq!(place.run(&mut pipeline, "merge"), Ran::AwaitingReview);
    assert_eq!(pipeline.state().stage("merge").unwrap().attempts, 2);
}
