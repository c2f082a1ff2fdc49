//! A process that works on a pipeline is killed at random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ckpt::Error;
use ckpt::manager::Run;
use ckpt::pipeline::{Pipeline, PipelineOptions, StageRun};
use ckpt::record::{PipelineStatus, Position};

/// The environment variable that says where the process works.
const PLACE: &str = "CKPT_TEST_PIPELINE";

/// How often a process is killed.
const KILLS: usize = 80;

/// The longest time that a process lives after it began, in microseconds.
const LONGEST_LIFE: u64 = 120_000;

const STAGES: [&str; 5] = ["extract", "filter", "merge", "train", "predict"];

/// Numbers that look random and are the same in every run (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Does all stages, from where the last process ended.
fn work(directory: &Path) -> Result<(), Error> {
    let mut pipeline = Pipeline::open(directory.join("p.json"), STAGES, PipelineOptions::default())?;
    for (number, name) in STAGES.iter().enumerate() {
        pipeline.run(name, |run: &mut StageRun| stage(directory, number, run))?;
    }
    Ok(())
}

/// Writes down that the stage is done, and does it, piece by piece: a kill may leave half of it.
fn stage(directory: &Path, number: usize, run: &mut StageRun) -> Result<(), Error> {
    let mut log = fs::File::options().append(true).create(true).open(directory.join("log")).unwrap();
    log.write_all(format!("{}\n", run.name()).as_bytes()).unwrap();
    let mut bytes = vec![1];
    if number > 0 {
        bytes = fs::read(run.input(format!("{}.bin", STAGES[number - 1]))?).unwrap();
    }
    let mut file = fs::File::create(run.output(format!("{}.bin", run.name()))?).unwrap();
    for piece in 0..20_u8 {
        let byte = bytes.iter().fold(piece, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        file.write_all(&[byte; 500]).unwrap();
    }
    run.value("number", &number)
}

/// The process that is killed.
#[test]
#[ignore = "started by another test, as a process of its own"]
fn works_until_it_is_killed() {
    let place = std::env::var(PLACE).unwrap();
    println!("begin:");
    work(Path::new(&place)).unwrap();
}

/// Starts a process, and kills it after a while; returns whether it was still at work.
fn kill_one(directory: &Path, life: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["pipeline::kill::works_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(PLACE, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Read to its end by nobody, and open until then: the test harness talks as well.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("begin:")));
    thread::sleep(life);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    drop(lines);
    assert!(status.success() || status.code().is_none(), "{status}");
    !status.success()
}

/// Returns how often each stage was begun.
fn begun(directory: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(directory.join("log")).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// Returns the stages whose checkpoints are committed.
fn committed(directory: &Path) -> BTreeSet<String> {
    let run = Run::open(&directory.join("p.stages")).unwrap();
    let list = run.list().unwrap();
    assert!(list.iter().all(ckpt::record::Listed::is_whole), "{list:?}");
    let stages = list.into_iter().map(|listed| match listed.manifest.unwrap().position {
        Position::Stage(name) => name,
        position @ Position::Step(_) => panic!("{position}"),
    });
    stages.collect()
}

/// What is left of a whole pipeline.
fn outputs(directory: &Path) -> Vec<Vec<u8>> {
    STAGES.iter().map(|stage| fs::read(directory.join(format!("{stage}.bin"))).unwrap()).collect()
}

#[test]
fn a_killed_process_loses_the_stage_in_flight_at_most() {
    let place = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let whole = place();
    work(whole.path()).unwrap();
    let (mut random, mut directory) = (Random(11), place());
    let (mut kills, mut finished, mut adopted) = (0, 0, 0);
    while kills < KILLS {
        let (done, before) = (committed(directory.path()), begun(directory.path()));
        let was_at_work = kill_one(directory.path(), Duration::from_micros(random.below(LONGEST_LIFE)));
        kills += usize::from(was_at_work);
        let after = begun(directory.path());
        for stage in &done {
            assert_eq!(after.get(stage), before.get(stage), "{stage} was finished, and done again");
        }
        // There is a whole state, or none yet; and it never says more than there is.
        let Some(state) = Pipeline::read(directory.path().join("p.json")).unwrap() else { continue };
        let there = committed(directory.path());
        assert!(state.stages_complete.iter().all(|stage| there.contains(stage)), "{state:?}");
        adopted += usize::from(there.len() > state.stages_complete.len());
        if state.status == PipelineStatus::Completed {
            assert_eq!(outputs(directory.path()), outputs(whole.path()));
            (directory, finished) = (place(), finished + 1);
        }
    }
    println!(
        "{kills} kills, {adopted} of them between checkpoint and state, {finished} pipelines came to their end"
    );
    work(directory.path()).unwrap();
    assert_eq!(outputs(directory.path()), outputs(whole.path()));
    let names = fs::read_dir(directory.path()).unwrap();
    let left =
        names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".ckpt-"));
    assert_eq!(left.count(), 0, "what killed processes left is gone");
}
