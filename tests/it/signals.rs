//! Real signals, sent to a process that answers line by line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ckpt::manager::triggers::{Answer, EXIT_REQUEUE, Signal, TriggerOptions, Triggers};
use rustix::process::{Pid, Signal as Sent, kill_process};

/// The environment variable that tells the process that it is the one.
const ROLE: &str = "CKPT_TEST_SIGNALS";

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// The process, and the way to talk with it.
struct Job {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Job {
    /// Starts one; `role` says what else it does with signals.
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["signals::answers_line_by_line", "--exact", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut job = Self { child, stdin, lines };
        assert_eq!(job.ask("listen"), "listening");
        job
    }

    /// Asks, and returns the answer; an empty one where the process is gone.
    fn ask(&mut self, what: &str) -> String {
        // It may be gone already.
        drop(writeln!(self.stdin, "{what}"));
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            // The test harness talks as well.
            if let Some((_, answer)) = line.split_once("answer: ") {
                return answer.trim().to_owned();
            }
            line.clear();
        }
        String::new()
    }

    /// Asks until the answer is another than `not`: signals take their time.
    fn ask_until_not(&mut self, what: &str, not: &str) -> String {
        let begin = Instant::now();
        loop {
            let answer = self.ask(what);
            if answer != not {
                return answer;
            }
            assert!(begin.elapsed() < PATIENCE, "'{what}' is still answered by '{not}'");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn send(&self, signal: Sent) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_signal_before_the_first_step() {
    let mut job = Job::start("usual");
    assert_eq!(job.ask("ending"), "none");
    job.send(Sent::TERM);
    assert_eq!(job.ask_until_not("ending", "none"), "SIGTERM came");
    assert_eq!(job.ask("step 0"), "the last save is due: SIGTERM came");
    assert_eq!(job.ask("saved 0"), "over");
    job.ask("exit");
    assert_eq!(job.end().code(), Some(EXIT_REQUEUE.into()));
}

#[test]
fn a_signal_twice_in_the_midst_of_a_save_and_again_in_the_last_one() {
    let mut job = Job::start("usual");
    assert_eq!(job.ask("step 10"), "a save is due: every 10 steps");
    job.send(Sent::TERM);
    job.send(Sent::TERM);
    assert_eq!(job.ask_until_not("ending", "none"), "SIGTERM came");
    assert_eq!(job.ask("saved 10"), "going on");
    assert_eq!(job.ask("step 11"), "the last save is due: SIGTERM came");
    job.send(Sent::TERM);
    job.send(Sent::TERM);
    assert_eq!(job.ask("step 12"), "none");
    assert_eq!(job.ask("saved 11"), "over");
    job.send(Sent::TERM);
    assert_eq!(job.ask("step 13"), "none");
    job.ask("exit");
    assert_eq!(job.end().code(), Some(EXIT_REQUEUE.into()));
}

#[test]
fn a_signal_that_asks_for_a_save_alone() {
    let mut job = Job::start("usual");
    assert_eq!(job.ask("step 1"), "none");
    job.send(Sent::USR2);
    assert_eq!(job.ask_until_not("step 2", "none"), "a save is due: SIGUSR2 came");
    assert_eq!(job.ask("saved 2"), "going on");
    assert_eq!((job.ask("step 3"), job.ask("ending")), ("none".into(), "none".into()));
}

#[test]
fn one_that_nobody_asked_for_is_left_alone() {
    let mut job = Job::start("usual");
    job.send(Sent::USR1);
    assert_eq!(job.end().signal(), Some(Sent::USR1.as_raw()));
    let mut job = Job::start("all");
    job.send(Sent::USR1);
    assert_eq!(job.ask_until_not("ending", "none"), "SIGUSR1 came");
}

#[test]
fn what_is_dropped_listens_no_more() {
    let mut job = Job::start("usual");
    for _ in 0..3 {
        assert_eq!((job.ask("drop"), job.ask("listen")), ("dropped".into(), "listening".into()));
        job.send(Sent::TERM);
        assert_eq!(job.ask_until_not("ending", "none"), "SIGTERM came");
    }
    assert_eq!(job.ask("drop"), "dropped");
    job.send(Sent::TERM);
    // As though nobody had ever listened.
    assert_eq!(job.end().signal(), Some(Sent::TERM.as_raw()));
}

#[test]
fn those_that_listened_before_still_do() {
    let mut job = Job::start("others");
    job.send(Sent::TERM);
    assert_eq!(job.ask_until_not("ending", "none"), "SIGTERM came");
    assert_eq!(job.ask("others"), "heard");
    assert_eq!((job.ask("drop"), job.ask("others")), ("dropped".into(), "heard nothing".into()));
    job.send(Sent::TERM);
    assert_eq!(job.ask_until_not("others", "heard nothing"), "heard");
}

fn options(role: &str) -> TriggerOptions {
    let options = TriggerOptions::default().every_steps(10).on_usual_signals();
    if role == "all" { options.on(Signal::User1, Answer::SaveAndStop) } else { options }
}

/// The process itself.
#[test]
#[ignore = "it is the process that the tests beside it start and send signals to"]
fn answers_line_by_line() {
    let role = std::env::var(ROLE).expect("the tests beside it set it");
    let others = Arc::new(AtomicBool::new(false));
    if role == "others" {
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&others)).unwrap();
    }
    let mut triggers = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let step: u64 = number.parse().unwrap();
        let answer = answer(word, step, &role, &mut triggers, &others);
        writeln!(std::io::stdout(), "answer: {answer}").unwrap();
    }
}

fn answer(word: &str, step: u64, role: &str, triggers: &mut Option<Triggers>, others: &AtomicBool) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    match (word, &mut *triggers) {
        ("listen", None) => {
            *triggers = Some(Triggers::new(&options(role)).unwrap());
            "listening".to_owned()
        }
        ("ending", Some(triggers)) => or_none(triggers.ending().map(|why| why.to_string())),
        ("step", Some(triggers)) => or_none(triggers.should_save(step).map(|due| due.to_string())),
        ("saved", Some(triggers)) => {
            triggers.saved(step, Duration::from_millis(1));
            if triggers.is_over() { "over" } else { "going on" }.to_owned()
        }
        ("drop", Some(_)) => {
            *triggers = None;
            "dropped".to_owned()
        }
        ("others", _) => {
            if others.swap(false, Ordering::SeqCst) { "heard" } else { "heard nothing" }.to_owned()
        }
        ("exit", _) => std::process::exit(EXIT_REQUEUE.into()),
        _ => panic!("what is '{word}'?"),
    }
}
