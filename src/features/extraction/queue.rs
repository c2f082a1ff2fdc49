//! What a worker shares with the thread that saves: the rows at hand, and the shards that wait.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fill::{Fill, Filled};
use super::trigger::{Due, Trigger};
use crate::Error;
use crate::save::scrub::Clock;
use crate::tensor::TensorView;

/// The thread looks at least this often, so that no time is too long to be waited for.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// The one lock, with who waits for it.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
    trigger: Trigger,
    /// How many shards may be in memory beside the rows at hand.
    limit: usize,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Inner {
    fill: Fill,
    is_in_batch: bool,
    /// The shards that wait to be written.
    handed: VecDeque<Filled>,
    is_writing: bool,
    /// Whether no further rows will come.
    is_closed: bool,
    failure: Option<Failure>,
}

/// The first shard that couldn't be saved.
#[derive(Debug)]
struct Failure {
    error: Error,
    /// How many there are.
    count: u64,
    /// Whether a call has returned it.
    is_told: bool,
}

impl Inner {
    /// Returns the first failure, if there is one.
    fn tell(&mut self) -> Result<(), Error> {
        let Some(failure) = &mut self.failure else { return Ok(()) };
        failure.is_told = true;
        let error = failure.error.clone();
        Err(match failure.count {
            1 => error.with_note("the shard isn't saved, and its ids are still to do"),
            more => error.with_note(&format!("{more} shards aren't saved, and their ids are still to do")),
        })
    }

    fn in_memory(&self) -> usize {
        self.handed.len() + usize::from(self.is_writing)
    }
}

impl Queue {
    pub(super) fn new(trigger: Trigger, limit: usize, clock: Arc<dyn Clock>) -> Self {
        let inner = Mutex::new(Inner::default());
        Self { inner, changed: Condvar::new(), trigger, limit: limit.max(1), clock }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self, inner: &Inner) -> Due {
        let waited = inner.fill.waited(self.clock.elapsed());
        self.trigger.due(inner.fill.rows(), waited, inner.is_in_batch)
    }

    fn has_room(&self, inner: &Inner) -> bool {
        inner.in_memory() < self.limit
    }

    /// Hands the rows at hand over if they are due and there is room. Doesn't wait.
    fn hand_over(&self, inner: &mut Inner) {
        if self.due(inner) == Due::Now && self.has_room(inner) {
            inner.handed.extend(inner.fill.take());
            self.changed.notify_all();
        }
    }

    /// Waits until there is room for a further shard; or until there is a failure, after which nobody needs any.
    fn wait_for_room<'q>(&self, inner: MutexGuard<'q, Inner>) -> MutexGuard<'q, Inner> {
        let is_full = |inner: &mut Inner| !self.has_room(inner) && inner.failure.is_none();
        self.changed.wait_while(inner, is_full).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes rows, and waits where those before them are due and may not be handed over yet.
    pub(super) fn push(&self, ids: &[impl AsRef<str>], rows: &TensorView<'_>) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.tell()?;
        if self.due(&inner) == Due::Now {
            inner = self.wait_for_room(inner);
            inner.tell()?;
            self.hand_over(&mut inner);
        }
        inner.fill.add(ids, rows, self.clock.elapsed())?;
        self.hand_over(&mut inner);
        // The thread may have to wait shorter from now on.
        self.changed.notify_all();
        Ok(())
    }

    /// Opens a batch, or closes it.
    pub(super) fn set_batch(&self, is_open: bool) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.tell()?;
        if inner.is_in_batch == is_open {
            return Err(Error::usage(if is_open {
                "a batch is open already: end it first"
            } else {
                "no batch is open that could be ended"
            }));
        }
        // What was due before the batch isn't a part of it.
        if is_open && self.due(&inner) == Due::Now {
            inner = self.wait_for_room(inner);
            inner.tell()?;
            self.hand_over(&mut inner);
        }
        inner.is_in_batch = is_open;
        self.hand_over(&mut inner);
        self.changed.notify_all();
        Ok(())
    }

    /// Looks whether the rows at hand are due.
    pub(super) fn tick(&self) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.tell()?;
        self.hand_over(&mut inner);
        Ok(())
    }

    /// Hands the rows at hand over, due or not, and waits until nothing is on its way.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let mut inner = self.wait_for_room(self.lock());
        inner.tell()?;
        if let Some(filled) = inner.fill.take() {
            inner.handed.push_back(filled);
            self.changed.notify_all();
        }
        let inner = self.changed.wait_while(inner, |inner| inner.in_memory() > 0);
        inner.unwrap_or_else(PoisonError::into_inner).tell()
    }

    /// Waits for the next shard, which is being written from now on; `None` when there will be none.
    pub(super) fn next(&self) -> Option<Filled> {
        let mut inner = self.lock();
        loop {
            if !inner.is_closed {
                self.hand_over(&mut inner);
            }
            if let Some(filled) = inner.handed.pop_front() {
                inner.is_writing = true;
                return Some(filled);
            }
            if inner.is_closed {
                return None;
            }
            let wait = match self.due(&inner) {
                Due::In(wait) => wait.min(LONGEST_WAIT),
                Due::Never | Due::Now => LONGEST_WAIT,
            };
            let (woken, _) = self.changed.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner);
            inner = woken;
        }
    }

    /// Notes what became of the shard that was being written.
    pub(super) fn done(&self, result: Result<(), Error>) {
        let mut inner = self.lock();
        inner.is_writing = false;
        if let Err(error) = result {
            inner.failure.get_or_insert(Failure { error, count: 0, is_told: false }).count += 1;
        }
        self.changed.notify_all();
    }

    /// Says that no further rows will come. The shards that were handed over are still written.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Returns the first failure, if no call has told of it.
    pub(super) fn untold(&self) -> Option<Error> {
        let mut inner = self.lock();
        if inner.failure.as_ref().is_some_and(|failure| failure.is_told) { None } else { inner.tell().err() }
    }
}
