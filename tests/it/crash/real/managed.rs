//! A process that saves to a run, and removes old checkpoints of it, is killed at random moments.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ckpt::State;
use ckpt::manager::{Manager, ManagerOptions, ResumeOptions, Run, resume};
use ckpt::save::SaveOptions;
use ckpt::tensor::TensorView;

use super::super::random::Random;
use super::kill::on_disk;

/// The environment variable that says where the run is.
const RUN: &str = "CKPT_TEST_RUN_WRITER";

/// How often.
const KILLS: usize = 100;

/// The longest time that a writer lives after its first save began, in microseconds.
const LONGEST_LIFE: u64 = 60_000;

/// How many checkpoints are kept.
const KEPT: usize = 2;

fn bytes(step: u64) -> Vec<u8> {
    step.to_le_bytes().repeat(30_000)
}

fn state(step: u64) -> State<'static> {
    let mut state = State::new();
    state.insert("w", TensorView::new(ckpt::Dtype::U8, [240_000], bytes(step)).unwrap()).unwrap();
    state
}

/// The writer itself.
#[test]
#[ignore = "it is the process that the test beside it starts and kills"]
fn saves_until_it_is_killed() {
    let run = std::env::var(RUN).expect("the test beside it sets it");
    let options = ManagerOptions::default().with_save(SaveOptions::default().with_threads(2));
    let manager = Manager::open(Path::new(&run), options).unwrap();
    let mut step = manager.resume().unwrap().map_or(0, |resumed| resumed.step());
    let mut output = std::io::stdout();
    loop {
        step += 1;
        writeln!(output, "\nbegan {step}").unwrap();
        manager.save(step, &state(step)).unwrap();
        writeln!(output, "\nsaved {step}").unwrap();
        let ids = manager.run().ids().unwrap();
        for id in ids.iter().take(ids.len().saturating_sub(KEPT)) {
            manager.run().remove(*id).unwrap();
        }
    }
}

fn start(run: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::real::managed::saves_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(RUN, run)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a writer, and kills it a while after its first save began. Returns the last step that it began to save,
/// and the last that it says was saved.
fn kill_one(run: &Path, life: Duration) -> (u64, Option<u64>) {
    let mut child = start(run);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let number = |line: &str, word: &str| line.strip_prefix(word).and_then(|rest| rest.parse::<u64>().ok());
    let first = lines.by_ref().find_map(|line| number(&line, "began "));
    let mut began = first.expect("the writer begins");
    thread::sleep(life);
    child.kill().unwrap();
    let mut saved = None;
    for line in lines {
        began = number(&line, "began ").unwrap_or(began);
        saved = number(&line, "saved ").or(saved);
    }
    child.wait().unwrap();
    (began, saved)
}

fn leftovers(run: &Run) -> usize {
    let names = fs::read_dir(run.branch()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| ckpt::io::commit::is_temporary(name)).count()
}

#[test]
fn a_killed_writer_leaves_whole_checkpoints() {
    let directory = on_disk();
    let run = Run::open(&directory.path().join("run")).unwrap();
    let (mut random, mut in_midst, mut with_leftovers, mut last) = (Random::new(11), 0, 0, 0);
    for kill in 0..KILLS {
        let (began, saved) = kill_one(run.directory(), Duration::from_micros(random.below(LONGEST_LIFE)));
        let what = format!("kill {kill}: began {began}, saved {saved:?}");
        let there = run.list().unwrap();
        assert!(there.iter().all(ckpt::record::Listed::is_whole), "{what}: {there:?}");
        let resumed = resume(&run, &ResumeOptions::default()).unwrap();
        let step = resumed.as_ref().map_or(0, ckpt::manager::Resumed::step);
        assert!(step == began || Some(step) == saved || (saved.is_none() && step == last), "{what}: {step}");
        if let Some(resumed) = resumed {
            assert!(resumed.skipped.is_empty(), "{what}: {:?}", resumed.skipped);
            assert!(*resumed.state.tensor("w").unwrap().bytes().unwrap() == bytes(step), "{what}");
        }
        in_midst += usize::from(saved != Some(began));
        with_leftovers += usize::from(leftovers(&run) > 0);
        last = step;
    }
    println!(
        "killed {KILLS} times, {in_midst} in the midst of a save, {with_leftovers} left something, {last} steps"
    );
    assert!(in_midst * 4 > KILLS && with_leftovers > 0, "too few kills hit a save");
    let lock = run.lock().unwrap();
    if lock.is_sure() {
        assert_eq!(leftovers(&run), 0);
    }
}
