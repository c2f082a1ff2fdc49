//! The failures of earlier runs, and the log of this one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::talk;
use crate::record::Report;
use crate::validate::{Candidate, History, PastFailure};

/// After how many failures the log is written, so that a run of days that is killed leaves them.
const FLUSH_AFTER: usize = 256;

/// What the logs of earlier runs say of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// How often it failed.
    pub(super) count: u64,
    /// The last time.
    pub(super) last: PastFailure,
}

/// The logs of the named directories.
#[derive(Default)]
pub(super) struct Failures {
    past: HashMap<Arc<Path>, HashMap<PathBuf, Past>>,
    /// Failures of this run that aren't written yet; none where no log was asked for.
    fresh: Option<Vec<(Arc<Path>, PastFailure)>>,
}

impl Failures {
    /// Reads the histories of the candidates' directories.
    pub(super) fn read(candidates: &[Candidate], is_logging: bool) -> Self {
        let mut failures = Self { past: HashMap::new(), fresh: is_logging.then(Vec::new) };
        let mut last: Option<&Arc<Path>> = None;
        for candidate in candidates {
            // Neighbours share their directory, mostly.
            if !last.is_some_and(|last| Arc::ptr_eq(last, &candidate.root))
                && !failures.past.contains_key(&candidate.root)
            {
                failures.past.insert(Arc::clone(&candidate.root), read(&candidate.root));
            }
            last = Some(&candidate.root);
        }
        failures
    }

    /// Returns what earlier runs found of a checkpoint.
    pub(super) fn past(&self, candidate: &Candidate) -> Option<&Past> {
        let past = self.past.get(&candidate.root)?;
        if past.is_empty() { None } else { past.get(relative(candidate)) }
    }

    /// Takes note of a report.
    pub(super) fn add(&mut self, candidate: &Candidate, report: &Report) {
        let (Some(fresh), Some(reason)) = (&mut self.fresh, report.reason()) else { return };
        let reason = format!("{} {}: {}", reason.verdict, reason.code, reason.message);
        let failure = PastFailure { path: relative(candidate).to_owned(), reason, at: Timestamp::now() };
        fresh.push((Arc::clone(&candidate.root), failure));
        if fresh.len() >= FLUSH_AFTER {
            self.write();
        }
    }

    /// Writes what is not yet written. A log that can't be written is said, and is no verdict.
    pub(super) fn write(&mut self) {
        let fresh = self.fresh.as_mut().map(std::mem::take).unwrap_or_default();
        for failures in fresh.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((root, _)) = failures.first() else { continue };
            let failures: Vec<PastFailure> = failures.iter().map(|(_, failure)| failure.clone()).collect();
            if let Err(error) = History::append(root, &failures) {
                talk("warning", &error.to_string());
            }
        }
    }
}

/// Returns a checkpoint's path as the log of its directory has it.
fn relative(candidate: &Candidate) -> &Path {
    match candidate.path.strip_prefix(&candidate.root) {
        Ok(path) if path.as_os_str().is_empty() => Path::new("."),
        Ok(path) => path,
        Err(_) => &candidate.path,
    }
}

/// Reads the log of one directory, by checkpoint. One that can't be read is said, and passed over.
fn read(directory: &Path) -> HashMap<PathBuf, Past> {
    let history = History::read(directory).unwrap_or_else(|error| {
        talk("warning", &error.to_string());
        History::default()
    });
    let mut past: HashMap<PathBuf, Past> = HashMap::new();
    for failure in history.failures() {
        past.entry(failure.path.clone())
            .and_modify(|past| {
                past.count += 1;
                past.last = failure.clone();
            })
            .or_insert_with(|| Past { count: 1, last: failure.clone() });
    }
    past
}
