//! Who waits for what. At most one save is being written, and at most one is queued.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::failures::Failures;
use super::{Job, OnFailure, Outcome, Ticket, WhenBusy};
use crate::Error;
use crate::tensor::StorageId;

/// What the callers and the worker share.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    queued: Option<Queued>,
    is_writing: bool,
    /// Whether no further save will come.
    is_closed: bool,
    failures: Failures,
    /// Where the last one's storages lie in its file.
    places: Arc<Vec<(StorageId, u64)>>,
}

/// A save with the ticket of who waits for it.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) ticket: Ticket,
}

/// What becomes of a save that was asked for.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub(super) enum Admitted {
    /// It is to be staged and queued. Of the one that gives way, the state is still there.
    Taken(Arc<Vec<(StorageId, u64)>>, Option<Queued>),
    /// It is left out.
    LeftOut,
}

impl Inner {
    fn is_busy(&self) -> bool {
        self.is_writing || self.queued.is_some()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as something is so.
    fn wait_while(&self, is_so: impl Fn(&Inner) -> bool) -> MutexGuard<'_, Inner> {
        self.changed.wait_while(self.lock(), |inner| is_so(inner)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a save, and waits where it has to.
    ///
    /// # Errors
    ///
    /// An earlier one failed, and nothing is to be saved after that.
    pub(super) fn admit(&self, when_busy: WhenBusy, on_failure: OnFailure) -> Result<Admitted, Error> {
        let mut inner = match when_busy {
            WhenBusy::Wait => self.wait_while(Inner::is_busy),
            WhenBusy::Skip | WhenBusy::Replace => self.lock(),
        };
        if on_failure == OnFailure::Stop {
            inner.failures.tell()?;
        }
        if when_busy == WhenBusy::Skip && inner.is_busy() {
            return Ok(Admitted::LeftOut);
        }
        Ok(Admitted::Taken(Arc::clone(&inner.places), inner.queued.take()))
    }

    /// Queues a save that was admitted.
    pub(super) fn push(&self, queued: Queued) {
        self.lock().queued = Some(queued);
        self.changed.notify_all();
    }

    /// Waits for the next save, which is being written from now on; `None` when there will be none.
    pub(super) fn next(&self) -> Option<Queued> {
        let mut inner = self.wait_while(|inner| inner.queued.is_none() && !inner.is_closed);
        let queued = inner.queued.take();
        inner.is_writing = queued.is_some();
        queued
    }

    /// Notes what became of the save that was being written. Whoever sees its ticket done finds the queue free.
    pub(super) fn done(&self, queued: Queued, result: Result<Outcome, Error>) {
        let Queued { job, ticket } = queued;
        let id = job.id;
        // Its memory is wanted for the next one.
        drop(job);
        let mut inner = self.lock();
        match &result {
            Ok(Outcome::Saved(committed)) => inner.places = Arc::new(committed.state.places.clone()),
            Ok(Outcome::Skipped | Outcome::Replaced) => {}
            Err(error) => inner.failures.add(id, error.clone(), ticket.clone()),
        }
        inner.is_writing = false;
        ticket.settle(result);
        drop(inner);
        self.changed.notify_all();
    }

    /// Waits until nothing is in flight, and returns the first failure.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.wait_while(Inner::is_busy).failures.tell()
    }

    /// Says that no further save will come. Those that were admitted are still written.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Returns whether a save is in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }

    /// Returns the failures that nobody has been told of.
    pub(super) fn untold(&self) -> Vec<String> {
        self.lock().failures.untold()
    }
}
