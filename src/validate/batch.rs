//! Many checkpoints at once, in order.
//!
//! What is bounded is the work in flight, by bytes. Every worker thread stands for a share of bytes
//! ([`Batch::with_bytes_per_thread`]); a checkpoint takes as many threads as it has shares, reads
//! with that many inside, and one that has as many shares as there are threads runs alone. Small
//! ones run side by side, each on one thread, and several to a turn, so that handing them out costs
//! nothing beside checking them.
//!
//! Work is handed out in the candidates' order, and reports come out in it. A report whose turn
//! hasn't come waits in a window of a few turns; when the window is full, no work is handed out until
//! the caller takes a report. So memory holds the reports in flight, however many candidates there
//! are, and the order never depends on which thread was faster.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::discover::Candidate;
use super::options::{ProgressSink, VerifyOptions};
use crate::record::{Code, Finding, FormatKind, Level, Report};

/// A thread's share of bytes. A checkpoint of this size keeps one thread busy for some tens of
/// milliseconds, beside which starting a second one inside costs nothing.
const BYTES_PER_THREAD: u64 = 64 << 20;

/// The most candidates in one turn, and the bytes after which a turn takes no further one: enough to
/// make the hand-over cheap, little enough that reports flow.
const TURN_CANDIDATES: usize = 64;
const TURN_BYTES: u64 = 1 << 20;

/// How many turns per thread may be handed out before the first of them was taken by the caller.
const WINDOW_PER_THREAD: usize = 4;

/// The check of one candidate; replaced in tests.
type Check = dyn Fn(&Candidate, &VerifyOptions) -> Report + Send + Sync;

/// Checks many checkpoints, and yields a report for each, in the order of the candidates.
///
/// [`VerifyOptions::threads`] is the number of threads altogether, over files and inside them. The
/// progress sink hears of all of a candidate's bytes: of those that its check didn't need to read,
/// when it ends. Nothing is printed, and no failure of one check stops the others.
///
/// Dropping the batch stops it: what is being checked at that moment is finished in the background
/// and its report dropped; nothing further is begun.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # std::fs::write(directory.path().join("a.pt"), b"")?;
/// use ckpt::VerifyOptions;
/// use ckpt::validate::{Batch, Look, discover};
///
/// let found = discover([directory.path()], Look::Contents);
/// for report in Batch::new(found.candidates, VerifyOptions::default()) {
///     println!("{}: {}", report.path.display(), report.verdict);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Batch {
    shared: Arc<Shared>,
    /// Whether the first report was asked for.
    is_started: bool,
    /// Whether there are workers. Without (the system gave no thread), the caller's thread works.
    has_workers: bool,
    /// The rest of the turn that the caller is taking.
    turn: std::vec::IntoIter<Report>,
    /// How many reports are still to come.
    remaining: usize,
}

impl Batch {
    /// Makes a batch. Work begins when the first report is asked for.
    pub fn new(candidates: impl Into<Arc<[Candidate]>>, options: VerifyOptions) -> Self {
        Self::with_check(candidates.into(), options, Box::new(check))
    }

    /// As [`Batch::new`], with another check.
    fn with_check(candidates: Arc<[Candidate]>, options: VerifyOptions, check: Box<Check>) -> Self {
        let threads = options.threads.max(1);
        Self {
            remaining: candidates.len(),
            shared: Arc::new(Shared {
                state: Mutex::new(State { free: threads, ..State::default() }),
                threads,
                bytes_per_thread: BYTES_PER_THREAD,
                window: threads.saturating_mul(WINDOW_PER_THREAD),
                candidates,
                options,
                check,
                work: Condvar::new(),
                ready: Condvar::new(),
            }),
            is_started: false,
            has_workers: false,
            turn: Vec::new().into_iter(),
        }
    }

    /// Sets a thread's share of the bytes in flight. Default: 64 MiB.
    ///
    /// Has no effect once the first report was asked for.
    #[must_use]
    pub fn with_bytes_per_thread(mut self, bytes: u64) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.bytes_per_thread = bytes.max(1);
        }
        self
    }

    /// Sets how many turns may be in flight or wait for their place in the order. Default: four per
    /// thread. Fewer than there are threads leave threads idle.
    ///
    /// Has no effect once the first report was asked for.
    #[must_use]
    pub fn with_window(mut self, turns: usize) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.window = turns.max(1);
        }
        self
    }

    /// Starts the workers: as many as there are threads, and no more than candidates.
    fn start(&mut self) {
        self.is_started = true;
        for _ in 0..self.shared.threads.min(self.remaining) {
            let shared = Arc::clone(&self.shared);
            let worker = std::thread::Builder::new().name("ckpt-verify".to_owned());
            self.has_workers |= worker.spawn(move || while shared.work_once() {}).is_ok();
        }
    }
}

impl Iterator for Batch {
    type Item = Report;

    fn next(&mut self) -> Option<Report> {
        if !self.is_started {
            self.start();
        }
        loop {
            if let Some(report) = self.turn.next() {
                self.remaining -= 1;
                return Some(report);
            }
            if !self.has_workers {
                self.shared.work_once();
            }
            self.turn = self.shared.next_turn()?.into_iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Batch {}

impl Drop for Batch {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.work.notify_all();
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

/// What the caller and the workers share.
struct Shared {
    candidates: Arc<[Candidate]>,
    options: VerifyOptions,
    check: Box<Check>,
    /// The number of threads altogether.
    threads: usize,
    /// A thread's share of the bytes in flight.
    bytes_per_thread: u64,
    /// How many turns may be ahead of the caller.
    window: usize,
    state: Mutex<State>,
    /// Tells workers that work may be handed out: threads are free, the window moved, or all is over.
    work: Condvar,
    /// Tells the caller that the turn it waits for is done.
    ready: Condvar,
}

/// Where the work stands.
#[derive(Default)]
struct State {
    /// The first candidate that wasn't handed out, and the number of its turn.
    candidate: usize,
    turn: usize,
    /// How many threads' shares of bytes are not in flight.
    free: usize,
    /// The number of the turn that the caller takes next.
    taken: usize,
    /// Turns that are done before theirs came.
    done: BTreeMap<usize, Vec<Report>>,
    is_stopped: bool,
}

/// A run of neighbouring candidates, checked one after the other.
struct Turn {
    /// Its place in the order of turns.
    number: usize,
    /// Which candidates it holds.
    candidates: Range<usize>,
    /// How many threads it takes, for its bytes.
    threads: usize,
}

impl Shared {
    /// A thread that panicked left no half-made change: every change below is made in one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work of one turn. Returns `false` when there is none left.
    fn work_once(&self) -> bool {
        let Some(turn) = self.take() else { return false };
        let candidates = self.candidates.get(turn.candidates.clone()).unwrap_or_default();
        let mut options = self.options.clone();
        options.threads = turn.threads;
        let reports = candidates.iter().map(|candidate| self.check_one(candidate, &mut options)).collect();
        self.finish(&turn, reports);
        true
    }

    /// Waits until a turn may begin, and takes it.
    fn take(&self) -> Option<Turn> {
        let mut state = self.lock();
        loop {
            if state.is_stopped || state.candidate >= self.candidates.len() {
                return None;
            }
            if state.turn - state.taken < self.window {
                let turn = self.plan(&state);
                if turn.threads <= state.free {
                    state.free -= turn.threads;
                    state.candidate = turn.candidates.end;
                    state.turn += 1;
                    return Some(turn);
                }
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns the next turn: one large candidate, or several small ones.
    fn plan(&self, state: &State) -> Turn {
        let rest = self.candidates.get(state.candidate..).unwrap_or_default();
        let threads = rest.first().map_or(1, |first| self.threads_for(first.bytes));
        let mut bytes = 0_u64;
        let small = rest.iter().take(TURN_CANDIDATES).take_while(|candidate| {
            bytes = bytes.saturating_add(candidate.bytes);
            bytes <= TURN_BYTES.min(self.bytes_per_thread)
        });
        let count = small.count().max(1);
        Turn { number: state.turn, candidates: state.candidate..state.candidate + count, threads }
    }

    /// Returns how many shares a candidate of this size is, at most all.
    fn threads_for(&self, bytes: u64) -> usize {
        let shares = bytes.div_ceil(self.bytes_per_thread).max(1);
        usize::try_from(shares).map_or(self.threads, |shares| shares.min(self.threads))
    }

    /// Hands in the reports of a turn, and gives its threads back.
    fn finish(&self, turn: &Turn, reports: Vec<Report>) {
        let mut state = self.lock();
        state.free += turn.threads;
        let is_awaited = turn.number == state.taken;
        state.done.insert(turn.number, reports);
        drop(state);
        self.work.notify_all();
        if is_awaited {
            self.ready.notify_one();
        }
    }

    /// Waits for the reports of the turn that comes next in order; none when all were taken.
    fn next_turn(&self) -> Option<Vec<Report>> {
        let mut state = self.lock();
        loop {
            let number = state.taken;
            if let Some(reports) = state.done.remove(&number) {
                state.taken += 1;
                drop(state);
                self.work.notify_all();
                return Some(reports);
            }
            if state.candidate >= self.candidates.len() && state.taken == state.turn {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Checks one candidate; a fault of the check itself is a report as well.
    fn check_one(&self, candidate: &Candidate, options: &mut VerifyOptions) -> Report {
        let heard = Arc::new(AtomicU64::new(0));
        options.progress = self.options.progress.clone().map(|sink| count_into(Arc::clone(&heard), sink));
        let checked = catch_unwind(AssertUnwindSafe(|| (self.check)(candidate, options)));
        if let Some(sink) = &self.options.progress {
            sink.add(candidate.bytes.saturating_sub(heard.load(Ordering::Relaxed)));
        }
        checked.unwrap_or_else(|_| {
            let message = "the check itself failed: a fault of this program, not of the file";
            report_of(candidate, Finding::unreadable(Code::IoError, Level::Size, message))
        })
    }
}

/// Makes a sink that counts what it hears and passes it on.
fn count_into(heard: Arc<AtomicU64>, sink: ProgressSink) -> ProgressSink {
    ProgressSink::new(move |bytes| {
        heard.fetch_add(bytes, Ordering::Relaxed);
        sink.add(bytes);
    })
}

/// Checks a candidate, or says why it can't be.
fn check(candidate: &Candidate, options: &VerifyOptions) -> Report {
    if let Some(problem) = &candidate.problem {
        return report_of(candidate, (**problem).clone());
    }
    let is_presence_enough = options.skip_contents && candidate.is_alone && !options.require_marker;
    let report = if is_presence_enough { presence(candidate) } else { None };
    report.unwrap_or_else(|| super::verify(&candidate.path, options))
}

/// The fast path of the fast path: a regular file with bytes, and neither marker nor seal beside it,
/// as the listing of its directory showed. One system call instead of four; the report is the one
/// that [`verify`](super::verify) makes. None where there is more to say.
fn presence(candidate: &Candidate) -> Option<Report> {
    let metadata = std::fs::metadata(&candidate.path).ok()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return None;
    }
    let mut report = Report::new(candidate.path.clone(), FormatKind::Unknown, Some(Level::Size));
    report.bytes = metadata.len();
    report.add([super::file::contents_not_checked()]);
    Some(report)
}

/// Makes the report of a candidate that could not be checked.
fn report_of(candidate: &Candidate, finding: Finding) -> Report {
    let mut report = Report::new(candidate.path.clone(), FormatKind::Unknown, None);
    report.bytes = candidate.bytes;
    report.add([finding]);
    report
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes a file of its own")]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::super::discover::{Look, discover};
    use super::*;

    const SHARE: u64 = 1000;

    fn candidates(sizes: &[u64]) -> Arc<[Candidate]> {
        let candidate =
            |(number, &bytes): (usize, &u64)| Candidate { bytes, ..Candidate::new(format!("{number:04}")) };
        sizes.iter().enumerate().map(candidate).collect()
    }

    fn options(threads: usize) -> VerifyOptions {
        VerifyOptions { threads, ..VerifyOptions::default() }
    }

    fn valid(candidate: &Candidate) -> Report {
        Report::new(candidate.path.clone(), FormatKind::Unknown, Some(Level::Load))
    }

    fn batch(
        sizes: &[u64],
        threads: usize,
        check: impl Fn(&Candidate, &VerifyOptions) -> Report + Send + Sync + 'static,
    ) -> Batch {
        Batch::with_check(candidates(sizes), options(threads), Box::new(check)).with_bytes_per_thread(SHARE)
    }

    fn number(report: &Report) -> usize {
        report.path.to_str().unwrap().parse().unwrap()
    }

    /// Reproducible numbers that look random: a linear congruential generator.
    fn scatter(seed: u64, count: usize, below: u64) -> Vec<u64> {
        let mut state = seed;
        let step = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        std::iter::repeat_with(step).take(count).collect()
    }

    #[test]
    fn reports_come_in_order_whatever_the_sizes_and_delays() {
        for seed in 1..=4 {
            let sizes = scatter(seed, 60, 5 * SHARE);
            let delays = scatter(seed + 100, 60, 800);
            let batch = batch(&sizes, 4, move |candidate, _| {
                let report = valid(candidate);
                std::thread::sleep(Duration::from_micros(delays[number(&report)]));
                report
            });
            let order: Vec<usize> = batch.map(|report| number(&report)).collect();
            assert_eq!(order, (0..60).collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn the_bytes_in_flight_stay_within_the_threads_shares() {
        let sizes = scatter(7, 80, 6 * SHARE);
        let (in_flight, threads_inside) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (most, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen_most, seen_refused) = (Arc::clone(&most), Arc::clone(&refused));
        let batch = batch(&sizes, 4, move |candidate, options| {
            let bytes = in_flight.fetch_add(candidate.bytes, Ordering::SeqCst) + candidate.bytes;
            let threads = threads_inside.fetch_add(options.threads, Ordering::SeqCst) + options.threads;
            most.fetch_max(if candidate.bytes < 4 * SHARE { bytes } else { 0 }, Ordering::SeqCst);
            let is_alone = candidate.bytes < 4 * SHARE || (bytes == candidate.bytes && options.threads == 4);
            refused.fetch_add(usize::from(threads > 4 || !is_alone), Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(200));
            in_flight.fetch_sub(candidate.bytes, Ordering::SeqCst);
            threads_inside.fetch_sub(options.threads, Ordering::SeqCst);
            valid(candidate)
        });
        assert_eq!(batch.count(), 80);
        assert_eq!(seen_refused.load(Ordering::SeqCst), 0, "a large file runs alone with all threads inside");
        assert!(seen_most.load(Ordering::SeqCst) <= 4 * SHARE);
    }

    #[test]
    fn no_work_begins_beyond_the_window() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let sizes = [SHARE; 40];
        let mut batch = batch(&sizes, 3, move |candidate, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            valid(candidate)
        })
        .with_window(5);
        for taken in 1..=40 {
            assert!(batch.next().is_some());
            std::thread::sleep(Duration::from_millis(2));
            assert!(begun.load(Ordering::SeqCst) <= taken + 5, "after {taken} reports were taken");
        }
        assert!(batch.next().is_none());
        assert_eq!(begun.load(Ordering::SeqCst), 40);
    }

    #[test]
    fn small_candidates_share_turns() {
        let batch = batch(&[0; 1000], 2, |candidate, options| {
            assert_eq!(options.threads, 1);
            valid(candidate)
        });
        let plan = batch.shared.plan(&batch.shared.lock());
        assert_eq!(plan.candidates, 0..TURN_CANDIDATES);
        assert_eq!(batch.len(), 1000);
        assert_eq!(batch.map(|report| number(&report)).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_check_that_fails_itself_stops_no_other() {
        let batch = batch(&[1; 5], 2, |candidate, _| {
            assert_ne!(candidate.path.to_str(), Some("0002"), "on purpose");
            valid(candidate)
        });
        let verdicts: Vec<bool> = batch.map(|report| report.is_valid()).collect();
        assert_eq!(verdicts, [true, true, false, true, true]);
    }

    #[test]
    fn a_dropped_batch_begins_nothing_further() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let mut batch = batch(&[SHARE; 100], 2, move |candidate, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            valid(candidate)
        });
        assert!(batch.next().is_some());
        let workers = Arc::downgrade(&batch.shared);
        drop(batch);
        while workers.strong_count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(begun.load(Ordering::SeqCst) < 20);
    }

    #[test]
    fn progress_hears_of_every_byte() {
        let heard = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&heard);
        let sink = ProgressSink::new(move |bytes| {
            counter.fetch_add(bytes, Ordering::SeqCst);
        });
        let options = VerifyOptions { progress: Some(sink), ..options(2) };
        let check = |candidate: &Candidate, options: &VerifyOptions| {
            options.progress.as_ref().unwrap().add(candidate.bytes / 2);
            valid(candidate)
        };
        let batch = Batch::with_check(candidates(&[10, 20, 31]), options, Box::new(check));
        assert_eq!(batch.count(), 3);
        assert_eq!(heard.load(Ordering::SeqCst), 61);
    }

    #[test]
    fn a_problem_found_on_the_way_is_the_report() {
        let problem = Finding::unreadable(Code::IoError, Level::Size, "can't list the directory: no");
        let candidate = Candidate { problem: Some(Box::new(problem)), ..Candidate::new("locked") };
        let report = Batch::new(vec![candidate], VerifyOptions::default()).next().unwrap();
        assert_eq!((report.verdict, report.level), (crate::Verdict::Unreadable, None));
    }

    #[test]
    fn the_fast_path_says_what_the_check_says() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.pt"), b"x").unwrap();
        let options = VerifyOptions { skip_contents: true, level: Level::Size, ..VerifyOptions::default() };
        let found = discover([directory.path()], Look::Names).candidates;
        let quick = presence(found.first().unwrap()).unwrap();
        let whole = crate::validate::verify(&quick.path, &options);
        assert_eq!(quick, Report { elapsed_ms: quick.elapsed_ms, ..whole });
    }

    #[test]
    fn an_empty_batch_ends_at_once() {
        assert!(Batch::new(Vec::new(), VerifyOptions::default()).next().is_none());
    }
}
