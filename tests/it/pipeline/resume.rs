//! Where the work goes on.

use std::fs;
use std::time::{Duration, SystemTime};

use ckpt::manager::Run;
use ckpt::pipeline::{Notice, Pipeline, PipelineOptions, Ran, Stage, StageRun, Why};
use ckpt::record::{PipelineStatus, Position, StageStatus};
use ckpt::{Error, Level, SaveOptions, State, save};

use super::{Place, STAGES};

/// Gives a file the time of modification that it had before, as a copy or a silent damage does.
fn keep_time(path: &std::path::Path, change: impl FnOnce()) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    change();
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn each_stage_is_done_once() {
    let place = Place::new();
    assert_eq!(place.go(), STAGES);
    assert!(place.go().is_empty());
    let state = Pipeline::read(place.state()).unwrap().unwrap();
    assert_eq!(
        (state.status, state.stages_complete),
        (PipelineStatus::Completed, STAGES.map(str::to_owned).into())
    );
    let merge = &state.stages[1];
    assert_eq!((merge.attempts, merge.outputs[0].bytes, &merge.values["rows"]), (1, 17, &7.into()));
    assert!(merge.started <= merge.finished && merge.seconds >= 0.0);
}

#[test]
fn a_finished_stage_is_a_checkpoint_with_its_parent() {
    let place = Place::new();
    place.go();
    let run = Run::open(&place.at("pipeline.stages")).unwrap();
    let list = run.list().unwrap();
    let of = |stage: &str| Position::Stage(stage.to_owned());
    let positions: Vec<Position> = list.iter().map(|one| one.manifest.clone().unwrap().position).collect();
    assert_eq!(positions, STAGES.map(of));
    let parents: Vec<_> = list.iter().map(|one| one.manifest.clone().unwrap().parent).collect();
    assert_eq!(parents, [None, Some(list[0].id), Some(list[1].id)]);
    let state = ckpt::load(&list[2].path.join("state.safetensors"), &ckpt::LoadOptions::default()).unwrap();
    assert_eq!(state.decode::<u64>("rows").unwrap(), 7);
    // Done again, it is of a new generation, and nothing was written over.
    place.open().reset("merge").unwrap();
    assert_eq!(place.go(), STAGES[1..]);
    let ids: Vec<String> = run.ids().unwrap().iter().map(ToString::to_string).collect();
    let expected =
        ["step-0000000001", "step-0000000002", "step-0000000003", "step-0000000002-g1", "step-0000000003-g1"];
    assert_eq!(ids, expected);
    assert_eq!(run.manifest(ids[3].parse().unwrap()).unwrap().parent, Some(list[0].id));
}

#[test]
fn what_is_gone_or_changed_is_done_again_with_all_behind_it() {
    let place = Place::new();
    place.go();
    fs::remove_file(place.at("merge.txt")).unwrap();
    {
        let pipeline = place.open();
        assert_eq!(pipeline.next(), Some("merge"));
        let [Notice::Redo { stage, why: Why::OutputGone { path } }] = pipeline.notices() else {
            panic!("{:?}", pipeline.notices());
        };
        assert_eq!((stage.as_str(), path.as_str()), ("merge", "merge.txt"));
        assert!(pipeline.is_complete("merge"), "as the state has it");
    }
    assert_eq!(place.go(), STAGES[1..]);
    fs::write(place.at("extract.txt"), "what somebody left").unwrap();
    assert_eq!(place.go(), STAGES);
    assert!(place.go().is_empty());
}

#[test]
fn a_file_is_read_where_its_time_is_another_or_the_level_says_so() {
    let place = Place::new();
    place.go();
    let path = place.at("extract.txt");
    let touch = || {
        let later = SystemTime::now() + Duration::from_mins(1);
        fs::File::options().append(true).open(&path).unwrap().set_modified(later).unwrap();
    };
    // The same bytes at another time, which is known from then on.
    touch();
    let known = || Pipeline::read(place.state()).unwrap().unwrap().stages[0].outputs[0].modified;
    let before = known();
    assert!(place.go().is_empty());
    assert!(known() > before && place.go().is_empty());
    let at = |level| place.open_with(PipelineOptions::default().with_level(level)).unwrap();
    // Other bytes of the same number, at the same time.
    place.open().reset("extract").unwrap();
    place.go();
    keep_time(&path, || fs::write(&path, "WHAT extract leaves").unwrap());
    assert_eq!(at(Level::Size).next(), None);
    assert_eq!(at(Level::Container).next(), None);
    assert_eq!(at(Level::Load).next(), Some("extract"));
    touch();
    assert_eq!(at(Level::Size).next(), Some("extract"));
}

/// Does one stage that saves a checkpoint, and returns its path.
fn proven(place: &Place) -> std::path::PathBuf {
    let mut pipeline = place.open_stages(["train"]);
    let mut state = State::new();
    state
        .insert("w", ckpt::tensor::TensorView::new(ckpt::Dtype::U8, [5000], vec![7; 5000]).unwrap())
        .unwrap();
    let done = pipeline.run("train", |run: &mut StageRun| -> Result<(), Error> {
        save(&run.output("w.safetensors")?, &state, &SaveOptions::default()).map(drop)
    });
    assert_eq!(done.unwrap(), Ran::Done);
    place.at("w.safetensors")
}

#[test]
fn a_checkpoint_is_held_against_its_proof() {
    let place = Place::new();
    let path = proven(&place);
    let record = Pipeline::read(place.state()).unwrap().unwrap().stages[0].outputs[0].clone();
    assert!(record.proven && record.digest.starts_with("crc64-nvme:"), "{record:?}");
    let next = |level: Level| {
        let options = PipelineOptions::default().with_level(level);
        Pipeline::open(place.state(), ["train"], options).unwrap().next().map(str::to_owned)
    };
    assert_eq!(Level::ALL.map(next), [None, None, None, None]);
    let flip = |at: usize| {
        keep_time(&path, || {
            let mut bytes = fs::read(&path).unwrap();
            let at = if at == 0 { bytes.len() - 10 } else { at };
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        });
    };
    let redone = Some("train".to_owned());
    flip(0);
    assert_eq!(Level::ALL.map(next), [None, None, redone.clone(), redone.clone()]);
    flip(0);
    flip(100);
    assert_eq!(Level::ALL.map(next), [None, redone.clone(), redone.clone(), redone]);
}

#[test]
fn an_output_that_is_damaged_when_its_stage_ends_is_no_output() {
    let place = Place::new();
    let path = proven(&place);
    let mut pipeline = place.open_stages(["train", "damage"]);
    let error = pipeline.run("damage", |run: &mut StageRun| -> Result<(), Error> {
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 10;
        bytes[at] ^= 1;
        fs::write(run.output("bad.safetensors")?, bytes).unwrap();
        Ok(())
    });
    assert_eq!(error.unwrap_err().kind(), ckpt::ErrorKind::Corrupted);
    assert_eq!(pipeline.state().stage("damage").unwrap().status, StageStatus::Failed);
}

#[test]
fn a_directory_is_one_output() {
    let place = Place::new();
    let work = |run: &mut StageRun| -> Result<(), Error> {
        let shards = run.output("shards")?;
        fs::create_dir_all(shards.join("a/b")).unwrap();
        fs::write(shards.join("a/1"), "one").unwrap();
        fs::write(shards.join("a/b/2"), "two").unwrap();
        Ok(())
    };
    let open = |level| {
        Pipeline::open(place.state(), ["shard"], PipelineOptions::default().with_level(level)).unwrap()
    };
    assert_eq!(open(Level::Size).run("shard", work).unwrap(), Ran::Done);
    let state = Pipeline::read(place.state()).unwrap().unwrap();
    let record = &state.stages[0].outputs[0];
    assert_eq!((record.files, record.bytes, &record.digest[..7]), (Some(2), 6, "blake3:"));
    assert_eq!(open(Level::Load).next(), None);
    let inside = place.at("shards/a/b/2");
    keep_time(&inside, || fs::write(&inside, "TWO").unwrap());
    assert_eq!(open(Level::Container).next(), None);
    assert_eq!(open(Level::Load).next(), Some("shard"));
    fs::write(place.at("shards/a/3"), "").unwrap();
    assert_eq!(open(Level::Size).next(), Some("shard"));
    fs::remove_dir_all(place.at("shards")).unwrap();
    fs::write(place.at("shards"), "onetwo").unwrap();
    assert_eq!(open(Level::Size).next(), Some("shard"));
}

#[test]
fn stages_are_done_in_their_order() {
    let place = Place::new();
    let mut pipeline = place.open();
    let error = pipeline.begin("merge").unwrap_err().to_string();
    assert!(error.contains("'merge' comes behind 'extract'"), "{error}");
    let error = pipeline.begin("sort").unwrap_err().to_string();
    assert!(error.contains("the stages are 'extract', 'merge', 'predict'"), "{error}");
    for wrong in [&["a", "a"][..], &[""], &["a\n"]] {
        assert!(
            Pipeline::open(place.at("other.json"), wrong.iter().copied(), PipelineOptions::default())
                .is_err()
        );
    }
    assert!(!place.at("other.json").exists());
}

#[test]
fn a_stage_that_fails_has_failed_with_its_words() {
    let place = Place::new();
    let mut pipeline = place.open();
    let failed = pipeline.run("extract", |run: &mut StageRun| -> Result<(), Box<dyn std::error::Error>> {
        run.cost("gpu_hours", 0.5);
        run.cost("odd", f64::NAN);
        Err("no GPU".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "no GPU");
    let state = Pipeline::read(place.state()).unwrap().unwrap();
    let failed = &state.stages[0];
    assert_eq!((failed.status, failed.error.as_deref()), (StageStatus::Failed, Some("no GPU")));
    assert_eq!((state.status, failed.cost.len(), failed.checkpoint), (PipelineStatus::Failed, 1, None));
    // An output that was promised and isn't there.
    let missing = pipeline.run("extract", |run: &mut StageRun| run.output("nothing").map(drop));
    assert!(missing.unwrap_err().to_string().contains("isn't there"));
    assert_eq!(place.run(&mut pipeline, "extract"), Ran::Done);
    let done = pipeline.state().stage("extract").unwrap();
    assert_eq!((done.status, done.attempts, done.error.as_deref()), (StageStatus::Completed, 3, None));
}

#[test]
fn a_stage_that_was_dropped_is_done_anew_and_an_old_attempt_is_refused() {
    let place = Place::new();
    let mut pipeline = place.open();
    let old = pipeline.begin("extract").unwrap().unwrap();
    assert_eq!((old.attempt(), pipeline.status()), (1, PipelineStatus::InProgress));
    let new = pipeline.begin("extract").unwrap().unwrap();
    assert!(pipeline.complete(old).unwrap_err().to_string().contains("isn't its last one"));
    assert_eq!(pipeline.complete(new).unwrap(), Ran::Done);
    drop(pipeline.begin("merge").unwrap());
    drop(pipeline);
    assert_eq!(place.open().next(), Some("merge"));
}

#[test]
fn a_stage_that_was_committed_and_not_written_down_is_taken_over() {
    let place = Place::new();
    let mut pipeline = place.open();
    let mut run = pipeline.begin("extract").unwrap().unwrap();
    place.work(&mut run).unwrap();
    let at_work = fs::read(place.state()).unwrap();
    pipeline.complete(run).unwrap();
    drop(pipeline);
    // As if the process had ended between the checkpoint and the state.
    fs::write(place.state(), at_work).unwrap();
    let mut pipeline = place.open();
    let checkpoint = "step-0000000001".parse().unwrap();
    assert_eq!(pipeline.notices(), [Notice::Adopted { stage: "extract".to_owned(), checkpoint }]);
    assert_eq!((pipeline.next(), pipeline.state().stages[0].outputs.len()), (Some("merge"), 1));
    // The checkpoint of another attempt says nothing of the one that came to no end.
    pipeline.reset("extract").unwrap();
    drop(pipeline.begin("extract").unwrap());
    drop(pipeline);
    let pipeline = place.open();
    assert_eq!((pipeline.next(), pipeline.notices()), (Some("extract"), &[][..]));
}

#[test]
fn marking_is_harmless_however_often() {
    let place = Place::new();
    let mut pipeline = place.open();
    for _ in 0..3 {
        pipeline.mark_complete("extract").unwrap();
    }
    let stage = pipeline.state().stage("extract").unwrap();
    assert_eq!((stage.attempts, stage.is_complete()), (1, true));
    assert_eq!(
        (pipeline.next(), pipeline.state().stages_complete.join(" ").as_str()),
        (Some("merge"), "extract")
    );
    assert!(pipeline.mark_complete("sort").is_err());
}

#[test]
fn inputs_and_commands_count_where_they_are_described() {
    let place = Place::new();
    fs::write(place.at("a.txt"), "one").unwrap();
    let stage = || Stage::new("sum").with_input("a.txt").with_command(["sum", "a.txt"]);
    let work = |run: &mut StageRun| -> Result<(), Error> { run.input("a.txt").map(drop) };
    assert_eq!(place.open_stages([stage()]).run("sum", work).unwrap(), Ran::Done);
    assert_eq!(place.open_stages([stage()]).run("sum", work).unwrap(), Ran::Skipped);
    let why = |stage: Stage| place.open_stages([stage]).why("sum").unwrap();
    assert_eq!(why(stage().with_command(["sum", "-v"])), Some(Why::CommandChanged));
    assert_eq!(why(stage().with_input("b.txt")), Some(Why::InputNew { path: "b.txt".to_owned() }));
    assert_eq!(why(stage().with_output("c.txt")), Some(Why::OutputNew { path: "c.txt".to_owned() }));
    // The same bytes, written anew.
    fs::write(place.at("a.txt"), "one").unwrap();
    assert_eq!(why(stage()), None);
    fs::write(place.at("a.txt"), "two or three").unwrap();
    assert_eq!(why(stage()), Some(Why::InputChanged { path: "a.txt".to_owned() }));
    fs::remove_file(place.at("a.txt")).unwrap();
    assert_eq!(why(stage()), None, "it can't be read again either");
}

#[test]
fn an_input_must_be_there() {
    let place = Place::new();
    let mut pipeline = place.open();
    let error = pipeline.run("extract", |run: &mut StageRun| run.input("no.txt").map(drop)).unwrap_err();
    assert_eq!(error.kind(), ckpt::ErrorKind::Nothing);
    for path in [".", "pipeline.json", ""] {
        let error = pipeline.run("extract", |run: &mut StageRun| run.output(path).map(drop)).unwrap_err();
        assert!(error.to_string().contains("holds the state file"), "{error}");
    }
}

#[test]
fn the_second_process_is_refused_with_the_name_of_the_first() {
    let place = Place::new();
    let first = place.open_with(PipelineOptions::default().with_holder("the night's job")).unwrap();
    let error = place.open_with(PipelineOptions::default()).unwrap_err().to_string();
    let process = format!("another process is at work on this pipeline: process {}", std::process::id());
    assert!(error.contains(&process) && error.contains("the night's job"), "{error}");
    // Looking is free.
    assert!(Pipeline::read(place.state()).unwrap().is_none());
    drop(first);
    assert_eq!(place.open().next(), Some("extract"));
}

#[test]
fn stages_are_met_one_by_one() {
    let place = Place::new();
    let open = || Pipeline::open_known(place.state(), PipelineOptions::default()).unwrap();
    for stage in STAGES {
        let mut pipeline = open();
        pipeline.add(stage).unwrap();
        assert_eq!(place.run(&mut pipeline, stage), Ran::Done);
    }
    let mut pipeline = open();
    assert_eq!((pipeline.next(), pipeline.status()), (None, PipelineStatus::Completed));
    assert_eq!(place.run(&mut pipeline, "merge"), Ran::Skipped);
    assert!(pipeline.add("").is_err());
    // A stage that isn't one any more is forgotten.
    drop(pipeline);
    let pipeline = place.open_stages(["extract", "predict"]);
    assert_eq!(pipeline.notices(), [Notice::Dropped { stage: "merge".to_owned() }]);
    assert_eq!(pipeline.state().stages_complete, ["extract", "predict"]);
}
