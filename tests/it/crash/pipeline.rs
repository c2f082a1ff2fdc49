//! What a crash leaves of a pipeline: a whole state or none, and no finished stage that is done again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ckpt::Error;
use ckpt::io::commit::{Disk, LocalDisk};
use ckpt::manager::Run;
use ckpt::pipeline::{Pipeline, PipelineOptions, StageRun};
use ckpt::record::{PipelineStatus, Position};

use super::disk::{FakeDisk, Way};
use super::fault::{Done, EIO, ENOSPC, Fault};
use super::image::Image;
use super::journal::Method;
use super::managed::{all_cuts, images, lay_out};
use super::power::Cut;

const STAGES: [&str; 2] = ["first", "second"];

/// Does both stages, as far as they aren't done, and counts.
fn work(disk: Arc<dyn Disk>, directory: &Path, counts: &RefCell<BTreeMap<String, u32>>) -> Result<(), Error> {
    let mut pipeline = Pipeline::on(disk, directory.join("p.json"), STAGES, PipelineOptions::default())?;
    for stage in STAGES {
        pipeline.run(stage, |run: &mut StageRun| {
            *counts.borrow_mut().entry(stage.to_owned()).or_default() += 1;
            run.value("of", stage)
        })?;
    }
    assert_eq!(pipeline.status(), PipelineStatus::Completed);
    Ok(())
}

fn work_on_fake(disk: &FakeDisk, counts: &RefCell<BTreeMap<String, u32>>) -> Result<(), Error> {
    work(Arc::new(disk.clone()), FakeDisk::DIRECTORY.as_ref(), counts)
}

/// Returns the stages whose checkpoints are there.
fn committed(directory: &Path) -> Vec<String> {
    let run = Run::open(&directory.join("p.stages")).unwrap();
    let list = run.list().unwrap();
    assert!(list.iter().all(ckpt::record::Listed::is_whole), "{list:?}");
    let name = |position| match position {
        Position::Stage(name) => name,
        other @ Position::Step(_) => panic!("{other}"),
    };
    list.into_iter().map(|listed| name(listed.manifest.unwrap().position)).collect()
}

/// Goes on from what a loss of power left: what has its checkpoint isn't done again, what hasn't is.
fn judge(image: &Image) -> Result<(), String> {
    let directory = lay_out(image);
    let state = Pipeline::read(directory.path().join("p.json")).map_err(|error| error.to_string())?;
    let done = committed(directory.path());
    let complete = state.map(|state| state.stages_complete).unwrap_or_default();
    if let Some(stage) = complete.iter().find(|stage| !done.contains(stage)) {
        return Err(format!("{stage} is complete, and its checkpoint isn't there"));
    }
    let counts = RefCell::default();
    work(Arc::new(LocalDisk), directory.path(), &counts).map_err(|error| error.to_string())?;
    for stage in STAGES {
        let (again, was_done) = (counts.borrow().contains_key(stage), done.iter().any(|done| done == stage));
        if again == was_done {
            return Err(format!("{stage}: done before: {was_done}, done now: {again}"));
        }
    }
    Ok(())
}

#[test]
fn a_pipeline_survives_every_cut() {
    let disk = FakeDisk::new(Image::default(), Way::Buffered);
    work_on_fake(&disk, &RefCell::default()).unwrap();
    let journal = disk.journal();
    let images_there = images(&journal, &all_cuts(&journal));
    println!("{} images of {} calls", images_there.len(), journal.calls.len());
    for image in &images_there {
        judge(image).unwrap_or_else(|problem| panic!("{problem}: {:?}", image.names()));
    }
    let end = images(&journal, &[Cut::After(journal.calls.len())]);
    for image in end {
        assert_eq!(committed(lay_out(&image).path()), STAGES, "what is done is durable");
    }
}

/// Every call fails once: the next process goes on, and what was said to be done isn't done again.
#[test]
fn after_every_fault_the_next_process_goes_on() {
    let fine = FakeDisk::new(Image::default(), Way::Buffered);
    work_on_fake(&fine, &RefCell::default()).unwrap();
    let mut gave_up = 0;
    for (number, call) in fine.journal().calls.iter().enumerate() {
        for (error, done) in [(EIO, Done::Nothing), (ENOSPC, Done::Nothing), (EIO, Done::All)] {
            if done == Done::All && !matches!(call.method, Method::Rename | Method::SyncDirectory) {
                continue;
            }
            let what = format!("{:?} {:?}, {done:?}", call.method, call.name);
            let disk =
                FakeDisk::new(Image::default(), Way::Buffered).failing(Fault { call: number, error, done });
            let counts = RefCell::default();
            gave_up += usize::from(work_on_fake(&disk, &counts).is_err());
            let first = counts.take();
            // Once more: the fault was one that passes.
            work_on_fake(&disk, &counts).unwrap_or_else(|error| panic!("{what}: {error}"));
            let second = counts.take();
            assert_eq!(disk.open_files(), 0, "{what}");
            for stage in STAGES {
                let times = first.get(stage).unwrap_or(&0) + second.get(stage).unwrap_or(&0);
                assert!((1..=2).contains(&times), "{what}: {stage} was done {times} times");
            }
            let names = disk.live().names();
            assert!(!names.iter().any(|name| name.contains(".ckpt-")), "{what}: {names:?}");
        }
    }
    assert!(gave_up > 30, "{gave_up}");
}
