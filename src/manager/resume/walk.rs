//! Back from the newest checkpoint to the first that is good.

use std::error::Error as _;
use std::io;

use crate::manager::Run;
use crate::record::{CheckpointId, Code, Finding, Level, Skipped};
use crate::{Error, ErrorKind};

/// How often the run is listed anew, because another process removed what was being looked at.
const MAX_LOOKS: usize = 10;

/// A good checkpoint, and what was found of it.
pub(super) struct Walked<T> {
    pub(super) id: CheckpointId,
    pub(super) found: T,
    pub(super) skipped: Vec<Skipped>,
}

/// Tries one checkpoint after the other, newest first.
///
/// # Errors
///
/// One must not be skipped, or none is good.
pub(super) fn back<T>(
    run: &Run,
    force: bool,
    attempt: &dyn Fn(CheckpointId) -> Result<T, Error>,
) -> Result<Option<Walked<T>>, Error> {
    let (mut rest, mut skipped, mut looks) = (run.ids()?, Vec::new(), 0);
    while let Some(id) = rest.pop() {
        match attempt(id) {
            Ok(found) => return Ok(Some(Walked { id, found, skipped })),
            // Another process removed it, and so there is a newer one.
            Err(_) if is_gone(run, id) && looks < MAX_LOOKS => {
                (rest, skipped, looks) = (run.ids()?, Vec::new(), looks + 1);
            }
            Err(_) if is_gone(run, id) => {}
            Err(error) if force || may_skip(&error) => {
                skipped.push(Skipped::new(id, run.path(id), finding_of(&error)));
            }
            Err(error) => return Err(stopped(error, &rest, attempt)),
        }
    }
    none_good(skipped)
}

/// Returns whether somebody removed the checkpoint meanwhile.
fn is_gone(run: &Run, id: CheckpointId) -> bool {
    matches!(run.disk().stat(&run.path(id)), Ok(None))
}

/// Returns whether an error says that the bytes aren't what was saved, or aren't there.
fn may_skip(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.kind() == ErrorKind::Corrupted
        || source.is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
}

/// Returns what was found; of an error that says nothing of the bytes, that.
fn finding_of(error: &Error) -> Finding {
    match error.finding() {
        Some(finding) => finding.clone(),
        None => Finding::unreadable(Code::IoError, Level::Size, error.to_string()),
    }
}

/// Adds to the error of a checkpoint that must not be skipped which older one is good.
fn stopped<T>(
    error: Error,
    rest: &[CheckpointId],
    attempt: &dyn Fn(CheckpointId) -> Result<T, Error>,
) -> Error {
    let next = rest.iter().rev().find(|id| attempt(**id).is_ok());
    error.with_note(&match next {
        Some(id) => format!("the next good one is {id}: a forced resume goes on from there"),
        None => "no older one is good".to_owned(),
    })
}

/// What is said when no checkpoint is good: nothing, if there is none.
fn none_good<T>(skipped: Vec<Skipped>) -> Result<Option<T>, Error> {
    let count = skipped.len();
    match skipped.into_iter().next() {
        None => Ok(None),
        Some(Skipped { path, finding, .. }) => Err(Error::found(path, finding).with_note(&match count {
            1 => "it is the only checkpoint of the run: restore it, or begin in another directory".to_owned(),
            _ => format!(
                "it is the newest of {count} checkpoints, and none of them can be used: restore one, or begin in \
                 another directory"
            ),
        })),
    }
}
