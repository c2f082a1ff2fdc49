//! The example that people copy is killed again and again, and comes to the same bits all the same.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use ckpt::manager::{Manager, ManagerOptions, Resumed};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `main` is for the command line.
#[path = "../../examples/train_tch.rs"]
#[expect(dead_code, reason = "the example's `main` is for the command line")]
mod train_tch;

/// How often it is killed.
const KILLS: usize = 22;
/// The longest life, in steps that it tells of.
const LONGEST_LIFE: u64 = 13;
/// More than all lives together: each death finds it at work.
const STEPS: &str = "300";
/// What tells the child what to do.
const RUN: &str = "CKPT_TEST_TRAIN";

/// A process that trains.
struct Trainer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Trainer {
    fn start(run: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::trains_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(RUN, run)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it has told of so many more steps.
    fn wait_for(&mut self, steps: u64) {
        let mut told = 0;
        let mut line = String::new();
        while told < steps {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended by itself");
            told += u64::from(line.contains("step "));
        }
    }

    /// Reads until it ends, and returns its exit code, if it ended by itself.
    fn finish(mut self) -> Option<i32> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {}
        self.child.wait().unwrap().code()
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The other process of these tests.
#[test]
#[ignore = "it is started by the tests that kill it"]
fn trains_until_it_is_killed() {
    let run = std::env::var(RUN).expect("a test says where");
    let options = ["--steps", STEPS, "--every", "5", "--say", "1", "--width", "32"].map(str::to_owned);
    let code = train_tch::run(std::iter::once(run).chain(options)).unwrap();
    std::process::exit(code.into());
}

/// Returns what a run came to.
fn last(run: &Path) -> Resumed {
    let manager = Manager::open(run, ManagerOptions::default()).unwrap();
    manager.resume().unwrap().expect("something was saved")
}

/// Asserts that a run came to the end of another, to the bit: weights, moments, generators, loss.
fn assert_same_end(run: &Path, reference: &Path) {
    let (ours, theirs) = (last(run), last(reference));
    assert_eq!(ours.step().to_string(), STEPS);
    assert_eq!(ours.state.same_as(&theirs.state).unwrap(), None);
    let loss = |resumed: &Resumed| resumed.state.decode::<f64>("progress.loss").unwrap().to_bits();
    assert_eq!(loss(&ours), loss(&theirs));
    assert!(ours.state.tensor("model.head.weight").is_some() && ours.skipped.is_empty());
}

#[test]
fn a_killed_training_comes_to_the_same_weights() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (reference, run) = (directory.path().join("whole"), directory.path().join("killed"));
    assert_eq!(Trainer::start(&reference).finish(), Some(0));

    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut resumed = 0;
    for _ in 0..KILLS {
        let mut trainer = Trainer::start(&run);
        trainer.wait_for(1 + random.next_u64() % LONGEST_LIFE);
        thread::sleep(Duration::from_micros(random.next_u64() % 20_000));
        // SIGKILL: nothing of it runs any more.
        trainer.child.kill().unwrap();
        assert_eq!(trainer.finish(), None, "it was killed");
        resumed += usize::from(run.join("main").exists());
    }
    assert!(resumed > KILLS / 2, "most of the lives went on from a checkpoint");
    assert_eq!(Trainer::start(&run).finish(), Some(0));
    assert_same_end(&run, &reference);
    terminated(&directory.path().join("terminated"), &reference);
}

/// Asks a training to end, and starts it again.
fn terminated(run: &Path, reference: &Path) {
    let mut trainer = Trainer::start(run);
    trainer.wait_for(7);
    let id = rustix::process::Pid::from_child(&trainer.child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(trainer.finish(), Some(75), "it asks to be started again");
    // Steps that are no multiple of five: it was saved for the signal.
    assert_ne!(last(run).step() % 5, 0);
    assert_eq!(Trainer::start(run).finish(), Some(0));
    assert_same_end(run, reference);
}
