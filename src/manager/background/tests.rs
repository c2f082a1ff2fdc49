use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::digest::Algorithm;
use crate::manager::{Committed, Event, Reporter};
use crate::record::{CheckpointId, Proof};
use crate::save::scrub::Clock;
use crate::save::{Format, Saved};
use crate::tensor::{Source as _, State, StorageId, TensorView};
use crate::{Dtype, Error};

fn id(step: u64) -> CheckpointId {
    CheckpointId { generation: 0, step }
}

fn state(bytes: &[u8]) -> State<'_> {
    let mut state = State::new();
    let view = TensorView::new(Dtype::U8, [bytes.len() as u64], bytes).unwrap();
    state.insert("w", view).unwrap();
    state
}

fn committed(job: &Job) -> Committed {
    let root = Algorithm::default().digest(b"");
    let proof = Proof { root, block_bytes: 4096, writer: "t".to_owned(), position: None, blocks: Vec::new() };
    let zero = Duration::ZERO;
    let state = Saved {
        path: PathBuf::new(),
        format: Format::Safetensors,
        bytes: job.state.len_bytes(),
        proof,
        data: Vec::new(),
        places: vec![(StorageId(0), 4096 * 3 + 100)],
        validated: None,
        writing: zero,
        validating: zero,
        elapsed: zero,
    };
    Committed { id: job.id, path: PathBuf::new(), state, notices: Vec::new(), retries: 0, elapsed: zero }
}

/// A clock that notes how long is waited, and doesn't.
#[derive(Debug, Default)]
struct Waits(Mutex<Vec<Duration>>);

impl Clock for Waits {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }
}

/// What a reporter heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn reporter(&self) -> Reporter {
        let heard = self.clone();
        Arc::new(move |event: &Event<'_>| {
            let what = match event {
                Event::Saved(saved) => format!("saved {} after {}", saved.id.step, saved.retries),
                Event::Retrying { id, attempt, after, .. } => {
                    format!("retrying {} after {attempt}, {after:?}", id.step)
                }
                Event::Failed { id, error } => format!("failed {}: {error}", id.step),
                Event::Skipped { step } => format!("skipped {step}"),
                Event::Replaced { step } => format!("replaced {step}"),
                Event::Pruned { .. } => "pruned".to_owned(),
            };
            heard.0.lock().unwrap().push(what);
        })
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn options(heard: &Heard) -> SaverOptions {
    SaverOptions::default().with_reporter(heard.reporter()).with_clock(Arc::new(Waits::default()))
}

/// A writer that says when it begins, with the bytes that it sees, and waits to be let go.
struct Gate {
    begun: Receiver<(u64, usize, Vec<u8>)>,
    go: Sender<()>,
}

impl Gate {
    fn saver(options: SaverOptions) -> (Self, Saver) {
        let (says, begun) = channel();
        let (go, wait) = channel();
        let saver = Saver::new(options, move |job: &Job| {
            let bytes = |job: &Job| job.state.tensor("w").unwrap().bytes().unwrap().into_owned();
            says.send((job.id.step, 0, Vec::new())).unwrap();
            wait.recv().unwrap();
            let data = job.state.data(StorageId(0)).unwrap().bytes().unwrap().unwrap();
            says.send((job.id.step, data.as_ptr().addr(), bytes(job))).unwrap();
            Ok(committed(job))
        });
        (Self { begun, go }, saver.unwrap())
    }

    /// Waits until a save begins, and returns its step.
    fn wait_begun(&self) -> u64 {
        self.begun.recv().unwrap().0
    }

    /// Lets the save go that has begun; returns what it saw then, and where.
    fn let_go(&self) -> (usize, Vec<u8>) {
        self.go.send(()).unwrap();
        let (_, address, bytes) = self.begun.recv().unwrap();
        (address, bytes)
    }
}

#[test]
fn what_is_written_is_what_was_submitted() {
    let heard = Heard::default();
    let (gate, saver) = Gate::saver(options(&heard));
    let mut weights = vec![1; 100_000];
    let mut addresses = Vec::new();
    for step in 1..=3 {
        let ticket = saver.submit(id(step), step, &state(&weights)).unwrap();
        assert_eq!(gate.wait_begun(), step);
        assert!(!ticket.is_done() && saver.is_busy());
        // The next step changes the weights while they are being saved.
        let before = weights.clone();
        for weight in &mut weights {
            *weight += 1;
        }
        let (address, seen) = gate.let_go();
        assert_eq!(seen, before);
        let outcome = ticket.wait().unwrap();
        assert_eq!(outcome.committed().unwrap().id, id(step));
        assert!(ticket.is_done() && !saver.is_busy());
        addresses.push(address);
    }
    // One area, and from the second save on at the place that the file has.
    let page = |address: usize| address - address % 4096;
    assert_eq!(addresses.iter().map(|address| address % 4096).collect::<Vec<_>>(), [0, 100, 100]);
    assert!(addresses.iter().all(|address| page(*address) == page(addresses[0])));
    saver.finish().unwrap();
    drop(saver);
    assert_eq!(heard.all(), ["saved 1 after 0", "saved 2 after 0", "saved 3 after 0"]);
}

#[test]
fn a_busy_saver_is_waited_for() {
    let (gate, saver) = Gate::saver(options(&Heard::default()));
    let (first, is_admitted) = (saver.submit(id(1), 1, &state(&[1])).unwrap(), AtomicUsize::new(0));
    assert_eq!(gate.wait_begun(), 1);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let ticket = saver.submit(id(2), 2, &state(&[2])).unwrap();
            // Nobody came here before the first was over.
            assert!(first.is_done());
            is_admitted.store(1, Relaxed);
            ticket
        });
        assert_eq!(is_admitted.load(Relaxed), 0);
        gate.let_go();
        assert_eq!(gate.wait_begun(), 2);
        gate.let_go();
        assert!(second.join().unwrap().wait().unwrap().committed().is_some());
    });
}

#[test]
fn a_save_is_left_out_while_another_is_in_flight() {
    let heard = Heard::default();
    let (gate, saver) = Gate::saver(options(&heard).with_when_busy(WhenBusy::Skip));
    let first = saver.submit(id(1), 1, &state(&[1])).unwrap();
    assert_eq!(gate.wait_begun(), 1);
    let second = saver.submit(id(2), 2, &state(&[2])).unwrap();
    assert!(second.is_done() && matches!(second.wait(), Ok(Outcome::Skipped)));
    gate.let_go();
    first.wait().unwrap();
    // Who has seen the ticket finds the saver free.
    let third = saver.submit(id(3), 3, &state(&[3])).unwrap();
    assert_eq!(gate.wait_begun(), 3);
    gate.let_go();
    assert!(third.wait().unwrap().committed().is_some());
    assert_eq!(heard.all(), ["skipped 2", "saved 1 after 0", "saved 3 after 0"]);
}

#[test]
fn the_queued_one_gives_way_and_never_the_one_being_written() {
    let heard = Heard::default();
    let (gate, saver) = Gate::saver(options(&heard).with_when_busy(WhenBusy::Replace));
    let first = saver.submit(id(1), 1, &state(&[1])).unwrap();
    assert_eq!(gate.wait_begun(), 1);
    let second = saver.submit(id(2), 2, &state(&[2])).unwrap();
    let third = saver.submit(id(3), 3, &state(&[3])).unwrap();
    assert!(matches!(second.wait(), Ok(Outcome::Replaced)));
    assert!(!first.is_done() && !third.is_done());
    assert_eq!(gate.let_go().1, [1]);
    assert_eq!(gate.wait_begun(), 3);
    // The last one waits, whatever the others do.
    let last = std::thread::scope(|scope| {
        let last = scope.spawn(|| saver.submit_when(WhenBusy::Wait, id(4), 4, &state(&[4])).unwrap());
        assert_eq!(gate.let_go().1, [3]);
        last.join().unwrap()
    });
    assert_eq!(gate.wait_begun(), 4);
    assert_eq!(gate.let_go().1, [4]);
    assert!(first.wait().unwrap().committed().is_some() && last.wait().unwrap().committed().is_some());
    drop(saver);
    assert_eq!(heard.all(), ["replaced 2", "saved 1 after 0", "saved 3 after 0", "saved 4 after 0"]);
}

/// A writer that fails as often, in that way.
fn failing(options: SaverOptions, times: usize, error: fn() -> Error) -> Saver {
    let calls = AtomicUsize::new(0);
    let commit = move |job: &Job| {
        let attempt = calls.fetch_add(1, Relaxed);
        assert_eq!(attempt, job.retries as usize + if job.id.step > 1 { attempt } else { 0 });
        if attempt < times { Err(error()) } else { Ok(committed(job)) }
    };
    Saver::new(options, commit).unwrap()
}

fn device_error() -> Error {
    // EIO, wherever there is one.
    Error::io("x", "write it", std::io::Error::from_raw_os_error(5))
}

fn full() -> Error {
    Error::io("x", "write it", std::io::ErrorKind::StorageFull.into())
}

fn refused() -> Error {
    Error::io("x", "write it", std::io::ErrorKind::PermissionDenied.into())
}

#[test]
fn what_may_pass_is_tried_again_after_a_while() {
    for error in [device_error, full] {
        let (heard, waits) = (Heard::default(), Arc::new(Waits::default()));
        let saver = failing(options(&heard).with_clock(waits.clone()), 3, error);
        let outcome = saver.submit(id(1), 1, &state(&[1])).unwrap().wait().unwrap();
        assert_eq!(outcome.committed().unwrap().retries, 3);
        saver.finish().unwrap();
        assert_eq!(*waits.0.lock().unwrap(), [1, 2, 4].map(Duration::from_secs));
        let retrying = ["retrying 1 after 1, 1s", "retrying 1 after 2, 2s", "retrying 1 after 3, 4s"];
        assert_eq!(heard.all(), [&retrying[..], &["saved 1 after 3"]].concat());
    }
}

#[test]
fn attempts_have_an_end_and_what_stays_is_not_tried_again() {
    for (error, attempts) in [(device_error as fn() -> Error, 5), (refused, 1)] {
        let heard = Heard::default();
        let saver = failing(options(&heard), usize::MAX, error);
        let ticket = saver.submit(id(1), 1, &state(&[1])).unwrap();
        assert_eq!(ticket.wait().unwrap_err().to_string(), error().to_string());
        let heard = heard.all();
        assert_eq!(heard.len(), attempts, "{heard:?}");
        assert_eq!(heard[attempts - 1], format!("failed 1: {}", error()));
    }
}

#[test]
fn after_a_failure_nothing_goes_on_unless_asked() {
    let saver = failing(options(&Heard::default()), 1, refused);
    let ticket = saver.submit(id(1), 1, &state(&[1])).unwrap();
    for _ in 0..2 {
        assert!(ticket.wait().is_err());
        let error = saver.submit(id(2), 2, &state(&[2])).unwrap_err().to_string();
        assert_eq!(error, refused().with_note("step-0000000001 isn't saved").to_string());
        assert!(saver.finish().is_err());
    }
}

#[test]
fn where_work_goes_on_the_end_tells_all_the_same() {
    let heard = Heard::default();
    let saver = failing(options(&heard).with_on_failure(OnFailure::GoOn), 2, refused);
    for step in 1..=3 {
        let ticket = saver.submit(id(step), step, &state(&[1])).unwrap();
        assert_eq!(ticket.wait().is_ok(), step == 3);
    }
    let error = saver.finish().unwrap_err().to_string();
    assert!(error.contains("step-0000000001 isn't saved; nor is one after it"), "{error}");
    assert_eq!(heard.all().len(), 3);
}

#[test]
fn a_panic_of_the_writer_is_an_error_and_the_saver_lives_on() {
    let heard = Heard::default();
    let saver = Saver::new(options(&heard).with_on_failure(OnFailure::GoOn), |job: &Job| {
        assert!(job.id.step != 1, "no such step");
        Ok(committed(job))
    });
    let saver = saver.unwrap();
    let error = saver.submit(id(1), 1, &state(&[1])).unwrap().wait().unwrap_err().to_string();
    assert!(
        error.contains("step-0000000001") && error.contains("the writer panicked: no such step"),
        "{error}"
    );
    assert!(saver.submit(id(2), 2, &state(&[1])).unwrap().wait().is_ok());
}

#[test]
fn a_panic_of_the_reporter_is_its_own() {
    let reporter: Reporter = Arc::new(|_: &Event<'_>| panic!("no ears"));
    let saver = Saver::new(SaverOptions::default().with_reporter(reporter), |job: &Job| Ok(committed(job)));
    let saver = saver.unwrap();
    for step in 1..=2 {
        assert!(saver.submit(id(step), step, &state(&[1])).unwrap().wait().is_ok());
    }
}

#[test]
fn dropping_waits_for_what_was_submitted() {
    let heard = Heard::default();
    let (gate, saver) = Gate::saver(options(&heard).with_when_busy(WhenBusy::Replace));
    drop(saver.submit(id(1), 1, &state(&[1])).unwrap());
    assert_eq!(gate.wait_begun(), 1);
    drop(saver.submit(id(2), 2, &state(&[2])).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| drop(saver));
        gate.let_go();
        assert_eq!(gate.wait_begun(), 2);
        gate.let_go();
    });
    assert_eq!(heard.all(), ["saved 1 after 0", "saved 2 after 0"]);
}

#[test]
fn a_state_that_cannot_be_copied_fails_the_call() {
    struct Broken;
    impl crate::tensor::Source for Broken {
        fn len(&self) -> u64 {
            3
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> Result<(), Error> {
            Err(Error::usage("the source is broken"))
        }
    }
    let saver = Saver::new(options(&Heard::default()), |job: &Job| Ok(committed(job))).unwrap();
    let mut broken = State::new();
    let data = crate::tensor::Data::new(Arc::new(Broken));
    broken.insert("w", TensorView::new(Dtype::U8, [3], data).unwrap()).unwrap();
    assert!(saver.submit(id(1), 1, &broken).unwrap_err().to_string().contains("broken"));
    // It is the caller's by now, and the next one is none of its business.
    assert!(saver.submit(id(2), 2, &state(&[1])).unwrap().wait().is_ok());
    saver.finish().unwrap();
}
