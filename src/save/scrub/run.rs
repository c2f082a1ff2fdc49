use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::lock::Lock;
use super::memory::{self, Entry};
use super::plan::{Found, Plan, Rule, is_same, plan};
use super::rate::Bucket;
use super::store::Store;
use super::{Clock, ScrubOptions, SystemClock, check};
use crate::Error;
use crate::record::{Code, Level, Report, ScrubEnd, ScrubSummary, Standing, Verdict};
use crate::save::stamp::stamp;
use crate::validate::{Candidate, Look, ProgressSink, VerifyOptions, discover};

/// One run over the checkpoints of a directory: yields a report for each that it reads, in the order in
/// which they are due.
///
/// What was verified is remembered in a file, written after each report (at most once a second) and at the
/// end. Dropping the run writes it as well; [`Scrub::finish`] says whether that went well.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # std::fs::write(directory.path().join("a.safetensors"), b"\x02\0\0\0\0\0\0\0{}")?;
/// use std::time::Duration;
/// use ckpt::save::{Scrub, ScrubOptions};
///
/// let week = Duration::from_hours(7 * 24);
/// let options = ScrubOptions::default().with_older_than(week);
/// let mut scrub = Scrub::begin(directory.path(), options.clone())?;
/// for report in &mut scrub {
///     println!("{}: {}", report.path.display(), report.verdict);
/// }
/// assert_eq!(scrub.finish()?.checked, 1);
/// // There is nothing to do until the week is over.
/// assert_eq!(Scrub::begin(directory.path(), options)?.finish()?.recent, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scrub {
    directory: PathBuf,
    options: ScrubOptions,
    clock: Arc<dyn Clock>,
    bucket: Arc<Bucket>,
    store: Store,
    queue: std::vec::IntoIter<Known>,
    /// Those that were verified recently enough.
    recent: Vec<Known>,
    summary: ScrubSummary,
    /// Why the run can't go on.
    failed: Option<Error>,
    began: Duration,
    _lock: Lock,
}

/// A checkpoint, with what it is remembered by.
#[derive(Debug)]
struct Known {
    candidate: Candidate,
    found: Found,
}

impl Scrub {
    /// The name of the memory in the directory.
    pub const MEMORY: &str = ".ckpt-scrub.json";

    /// Begins a run: finds the checkpoints, and decides what is due. Nothing of them is read yet.
    ///
    /// # Errors
    ///
    /// The directory can't be searched or holds no checkpoint, another scrub is at work, the memory can't be
    /// read or is of a later version.
    pub fn begin(directory: &Path, options: ScrubOptions) -> Result<Self, Error> {
        Self::begin_at(directory, options, Arc::new(SystemClock::default()))
    }

    /// As [`Scrub::begin`], by another clock.
    ///
    /// # Errors
    ///
    /// As [`Scrub::begin`].
    pub fn begin_at(directory: &Path, options: ScrubOptions, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let began = clock.elapsed();
        let known = find(directory)?;
        let path = options.memory.clone().unwrap_or_else(|| directory.join(Self::MEMORY));
        let lock = Lock::take(&path, clock.now())?;
        let mut store = Store::open(path)?;
        let mut summary = ScrubSummary { checkpoints: known.len() as u64, ..ScrubSummary::default() };
        summary.set_aside.clone_from(&store.set_aside);
        summary.forgotten = forget(&mut store, directory);
        let (due, recent) = sort(known, &store, clock.now(), &options);
        summary.recent = recent.len() as u64;
        Ok(Self {
            directory: directory.to_owned(),
            bucket: Arc::new(Bucket::new(options.rate, Arc::clone(&clock))),
            queue: due.into_iter(),
            recent,
            options,
            clock,
            store,
            summary,
            failed: None,
            began,
            _lock: lock,
        })
    }

    /// Sets who hears of every byte that is read.
    #[must_use]
    pub fn with_progress(mut self, progress: Option<ProgressSink>) -> Self {
        self.options.progress = progress;
        self
    }

    /// Returns how many bytes of checkpoints this run is going to read, as far as its options let it.
    pub fn bytes_due(&self) -> u64 {
        let due =
            self.queue.as_slice().iter().fold(0_u64, |sum, due| sum.saturating_add(due.candidate.bytes));
        due.min(self.options.max_bytes.unwrap_or(u64::MAX))
    }

    /// Ends the run, and says what it came to.
    ///
    /// # Errors
    ///
    /// The memory can't be written: what was verified since it last was isn't remembered.
    pub fn finish(mut self) -> Result<ScrubSummary, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.store.write()?;
        let mut summary = std::mem::take(&mut self.summary);
        let left = self.queue.as_slice();
        summary.left = left.len() as u64;
        summary.left_bytes = left.iter().fold(0, |sum, due| sum.saturating_add(due.candidate.bytes));
        if summary.left > 0 && summary.ended == ScrubEnd::Done {
            summary.ended = ScrubEnd::Stopped;
        }
        summary.standing = standing(left.iter().chain(&self.recent), &self.store);
        let elapsed = self.clock.elapsed().saturating_sub(self.began);
        summary.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Ok(summary)
    }

    /// Says why a checkpoint of this size is not begun, if it isn't. The first always is: one that is larger than
    /// the budget of every run would never be read.
    fn is_over(&self, bytes: u64) -> Option<ScrubEnd> {
        if self.summary.checked == 0 {
            return None;
        }
        let elapsed = self.clock.elapsed().saturating_sub(self.began);
        let done = elapsed.saturating_add(self.bucket.price(bytes).unwrap_or_default());
        if self.options.time.is_some_and(|time| done > time || elapsed >= time) {
            return Some(ScrubEnd::Time);
        }
        let read = self.summary.bytes.saturating_add(bytes);
        self.options.max_bytes.is_some_and(|most| read > most).then_some(ScrubEnd::Bytes)
    }

    /// Verifies a checkpoint, and remembers what came of it.
    ///
    /// The files are looked at before and after: what is remembered is of the state that was read, or says that
    /// none was.
    fn check(&mut self, due: &Known) -> Option<Report> {
        let before = stamp_of(&due.candidate.path);
        let last = self.store.memory.get(&due.found.key).filter(|last| before.as_ref() == Some(&last.stamp));
        let mut contents = last.and_then(|last| last.contents.clone());
        let mut report = check::verify(&due.candidate, &self.verify_options())?;
        if check::leaves_unread(&report) {
            contents = self.read_all(&due.candidate.path, contents, &mut report);
        }
        if let Some(stamp) = stamp_of(&due.candidate.path) {
            let is_same = before.as_ref() == Some(&stamp);
            let contents = contents.filter(|_| is_same);
            let entry = self.entry(stamp, is_same, &report, contents);
            self.store.memory.set(due.found.key.clone(), entry);
            self.store.touch();
        }
        Some(report)
    }

    /// Reads what the check left unread, and holds it against the digest of the last time. Returns the first
    /// digest that there was: bytes that come back as they were after they were others are damaged as well.
    fn read_all(&self, path: &Path, last: Option<String>, report: &mut Report) -> Option<String> {
        let threads = self.options.verify.threads;
        match check::contents(path, threads, &self.bucket, self.options.progress.as_ref()) {
            Ok(digest) => {
                let digest = digest.to_string();
                report.add(
                    last.iter()
                        .filter(|last| **last != digest)
                        .map(|last| check::changed_in_silence(&digest, last)),
                );
                Some(last.unwrap_or(digest))
            }
            Err(error) => {
                report.add([check::unread(&error)]);
                last
            }
        }
    }

    /// Returns what is to be remembered: a time of verification only where the files were read as they are.
    fn entry(&self, stamp: String, is_same: bool, report: &Report, contents: Option<String>) -> Entry {
        let was_changing = report.findings.iter().any(|finding| finding.code == Code::ChangedWhileRead);
        let was_read = is_same && !was_changing && report.verdict != Verdict::Unreadable;
        let now = self.clock.now();
        Entry {
            stamp,
            verified: was_read.then_some(now),
            tried: now,
            level: self.options.verify.level.min(report.level.unwrap_or(Level::Size)),
            verdict: report.verdict,
            contents,
        }
    }

    /// Returns how to verify: from the device, at the rate.
    fn verify_options(&self) -> VerifyOptions {
        let (bucket, progress) = (Arc::clone(&self.bucket), self.options.progress.clone());
        let mut options = self.options.verify.clone();
        options.fresh = true;
        options.reads = Some(ProgressSink::new(move |bytes| {
            bucket.take(bytes);
            if let Some(progress) = &progress {
                progress.add(bytes);
            }
        }));
        options
    }

    /// Counts a report.
    fn count(&mut self, report: &Report) {
        let summary = &mut self.summary;
        summary.checked += 1;
        summary.bytes = summary.bytes.saturating_add(report.bytes);
        *match report.verdict {
            Verdict::Valid => &mut summary.valid,
            Verdict::Incompatible => &mut summary.incompatible,
            Verdict::Corrupted => &mut summary.corrupted,
            Verdict::Unreadable => &mut summary.unreadable,
        } += 1;
    }
}

impl Iterator for Scrub {
    type Item = Report;

    fn next(&mut self) -> Option<Report> {
        if self.failed.is_some() || self.summary.ended != ScrubEnd::Done {
            return None;
        }
        let bytes = self.queue.as_slice().first()?.candidate.bytes;
        if let Some(end) = self.is_over(bytes) {
            self.summary.ended = end;
            return None;
        }
        let due = self.queue.next()?;
        let report = self.check(&due)?;
        self.count(&report);
        self.failed = self.store.write_soon(self.clock.elapsed()).err();
        Some(report)
    }
}

/// Writes what isn't written yet; nobody is there to hear of an error.
impl Drop for Scrub {
    fn drop(&mut self) {
        drop(self.store.write());
    }
}

impl fmt::Debug for Scrub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = self.queue.len();
        f.debug_struct("Scrub").field("directory", &self.directory).field("due", &due).finish_non_exhaustive()
    }
}

/// Returns what stands for the state of a checkpoint's files; none where they can't be looked at.
fn stamp_of(path: &Path) -> Option<String> {
    stamp(path).ok().map(|stamp| stamp.to_string())
}

/// Finds the checkpoints of the directory.
fn find(directory: &Path) -> Result<Vec<Known>, Error> {
    if !directory.is_dir() {
        let error = io::Error::from(match directory.symlink_metadata() {
            Ok(_) => io::ErrorKind::NotADirectory,
            Err(error) => error.kind(),
        });
        return Err(Error::io(directory, "search it", error));
    }
    let found = discover([directory], Look::Contents);
    if let Some(problem) = found.problems.into_iter().next() {
        return Err(problem);
    }
    let known = |candidate: Candidate| {
        let found = Found { key: memory::key(directory, &candidate.path), stamp: stamp_of(&candidate.path) };
        Known { candidate, found }
    };
    Ok(found.candidates.into_iter().map(known).collect())
}

/// Forgets what is gone; what only can't be looked at right now is kept.
fn forget(store: &mut Store, directory: &Path) -> u64 {
    let is_gone = |key: &str| {
        let path = memory::path_of(directory, key);
        path.symlink_metadata().is_err_and(|error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        })
    };
    let forgotten = store.memory.forget(is_gone);
    if forgotten > 0 {
        store.touch();
    }
    forgotten
}

/// Parts what is due, in its order, from what was verified recently.
fn sort(
    known: Vec<Known>,
    store: &Store,
    now: jiff::Timestamp,
    options: &ScrubOptions,
) -> (Vec<Known>, Vec<Known>) {
    let found: Vec<Found> = known.iter().map(|known| known.found.clone()).collect();
    let rule = Rule { level: options.verify.level, older_than: options.older_than };
    let Plan { due, recent } = plan(&found, &store.memory, now, rule);
    let mut known: Vec<Option<Known>> = known.into_iter().map(Some).collect();
    let mut take = |places: Vec<usize>| -> Vec<Known> {
        places.into_iter().filter_map(|at| known.get_mut(at).and_then(Option::take)).collect()
    };
    (take(due), take(recent))
}

/// Lists those that weren't valid when they were last verified, and are still the same files: not reading them
/// again must not make them look good.
fn standing<'a>(known: impl Iterator<Item = &'a Known>, store: &Store) -> Vec<Standing> {
    let standing = |known: &Known| {
        let entry = store.memory.get(&known.found.key)?;
        let verified =
            entry.verified.filter(|_| entry.verdict != Verdict::Valid && is_same(entry, &known.found))?;
        Some(Standing { path: known.candidate.path.clone(), verdict: entry.verdict, verified })
    };
    let mut standing: Vec<Standing> = known.filter_map(standing).collect();
    standing.sort_by(|a, b| a.path.cmp(&b.path));
    standing
}
