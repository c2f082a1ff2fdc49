use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::Error;
use crate::manager::Committed;

/// What became of a save.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is durable.
    Saved(Box<Committed>),
    /// It was left out: another was in flight.
    Skipped,
    /// It was queued, and a newer one took its place.
    Replaced,
}

impl Outcome {
    /// Returns what was saved.
    pub fn committed(&self) -> Option<&Committed> {
        if let Self::Saved(committed) = self { Some(committed) } else { None }
    }
}

/// A save that is on its way. Dropping the ticket changes nothing about it.
#[derive(Clone)]
pub struct Ticket(Arc<Slot>);

/// Where the outcome will be.
#[derive(Default)]
struct Slot {
    result: Mutex<Option<Result<Outcome, Error>>>,
    done: Condvar,
    /// Whether the result was asked for.
    seen: AtomicBool,
}

impl Ticket {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Makes the ticket of a save that is over.
    pub(super) fn over(outcome: Outcome) -> Self {
        let ticket = Self::new();
        ticket.settle(Ok(outcome));
        ticket
    }

    /// Says what became of it.
    pub(super) fn settle(&self, result: Result<Outcome, Error>) {
        *self.0.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.0.done.notify_all();
    }

    /// Returns whether the outcome was asked for.
    pub(super) fn is_seen(&self) -> bool {
        self.0.seen.load(Ordering::Relaxed)
    }

    /// Returns whether it was left out. Doesn't wait, and tells of no failure.
    pub fn is_left_out(&self) -> bool {
        let result = self.0.result.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(&*result, Some(Ok(Outcome::Skipped)))
    }

    /// Returns whether it is over, well or not. Doesn't wait.
    pub fn is_done(&self) -> bool {
        self.0.result.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits until it is over, and returns what became of it; every time the same.
    ///
    /// # Errors
    ///
    /// It could not be saved.
    pub fn wait(&self) -> Result<Outcome, Error> {
        let mut result = self.0.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = &*result {
                self.0.seen.store(true, Ordering::Relaxed);
                return result.clone();
            }
            result = self.0.done.wait(result).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", if self.is_done() { "done" } else { "on its way" })
    }
}
