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
/// How many steps it takes. A training that comes to its end before it can be killed is held against the other one, and
/// followed by another: how fast it is doesn't matter.
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
            // Threads that have nothing to do sleep: other tests run beside this one.
            .env("OMP_WAIT_POLICY", "passive")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it has told of so many more steps, or ended by itself.
    fn wait_for(&mut self, steps: u64) {
        let mut told = 0;
        let mut line = String::new();
        while told < steps {
            line.clear();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return;
            }
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
    let reference = directory.path().join("whole");
    assert_eq!(Trainer::start(&reference).finish(), Some(0));

    let mut random = ChaCha8Rng::seed_from_u64(0);
    let (mut kills, mut resumed, mut ends) = (0, 0, 0);
    let mut run = directory.path().join("killed-0");
    while kills < KILLS {
        let mut trainer = Trainer::start(&run);
        trainer.wait_for(1 + random.next_u64() % LONGEST_LIFE);
        thread::sleep(Duration::from_micros(random.next_u64() % 20_000));
        // SIGKILL: nothing of it runs any more.
        trainer.child.kill().unwrap();
        match trainer.finish() {
            None => {
                kills += 1;
                resumed += usize::from(run.join("main").exists());
            }
            ended => {
                assert_eq!(ended, Some(0));
                assert_same_end(&run, &reference);
                ends += 1;
                assert!(ends < KILLS, "it ends before it can be killed");
                run = directory.path().join(format!("killed-{ends}"));
            }
        }
    }
    assert!(resumed > KILLS / 2, "most of the lives went on from a checkpoint");
    assert_eq!(Trainer::start(&run).finish(), Some(0));
    assert_same_end(&run, &reference);
    let mut runs = (0..KILLS).map(|number| directory.path().join(format!("terminated-{number}")));
    assert!(runs.any(|run| terminated(&run, &reference)), "it ends before it can be asked to");
}

/// Asks a training to end, and starts it again. Returns whether it heard of that before its end.
fn terminated(run: &Path, reference: &Path) -> bool {
    let mut trainer = Trainer::start(run);
    trainer.wait_for(7);
    let id = rustix::process::Pid::from_child(&trainer.child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    match trainer.finish() {
        Some(0) => return false,
        ended => assert_eq!(ended, Some(75), "it asks to be started again"),
    }
    // It had told of seven steps, and saves every five.
    assert!(last(run).step() >= 7, "it was saved for the signal");
    assert_eq!(Trainer::start(run).finish(), Some(0));
    assert_same_end(run, reference);
    true
}
