use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::queue::{Admitted, Queue, Queued};
use super::{Commit, Job, Outcome, SaverOptions, Ticket, WhenBusy, last_words, worker};
use crate::Error;
use crate::io::Staging;
use crate::manager::{Event, SaveRequest};
use crate::record::CheckpointId;
use crate::tensor::State;

/// Saves states in the background, one at a time.
///
/// ```
/// use ckpt::Error;
/// use ckpt::manager::background::{Job, OnFailure, Saver, SaverOptions};
/// use ckpt::record::CheckpointId;
/// use ckpt::tensor::State;
///
/// let options = SaverOptions::default().with_on_failure(OnFailure::GoOn);
/// let saver = Saver::new(options, |job: &Job| Err(Error::usage(format!("{}: no disk", job.id))))?;
/// let id = CheckpointId { generation: 0, step: 100 };
/// let ticket = saver.submit(id, 100, &State::new())?;
/// // The work goes on, until somebody wants to know.
/// assert_eq!(ticket.wait().unwrap_err().to_string(), "step-0000000100: no disk");
/// assert!(saver.finish().is_err());
/// # Ok::<(), Error>(())
/// ```
///
/// Dropping it waits until what was submitted is written.
#[derive(Debug)]
pub struct Saver {
    queue: Arc<Queue>,
    options: SaverOptions,
    staging: Staging,
    /// Whose turn it is to submit: a save is staged without holding the queue.
    turn: Mutex<()>,
    worker: Option<JoinHandle<()>>,
}

impl Saver {
    /// Begins, with a function that makes one checkpoint: see [`Commit`].
    ///
    /// # Errors
    ///
    /// The system grants no thread.
    pub fn new(
        options: SaverOptions,
        commit: impl FnMut(&Job) -> Result<crate::manager::Committed, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let queue = Arc::new(Queue::default());
        let commit: Commit = Box::new(commit);
        let (theirs, own) = (Arc::clone(&queue), options.clone());
        let worker = thread::Builder::new()
            .name("ckpt-saver".to_owned())
            .spawn(move || worker::run(&theirs, &own, commit))
            .map_err(|error| Error::usage(format!("can't start the thread that saves: {error}")))?;
        let staging = Staging::new(options.copiers);
        Ok(Self { queue, options, staging, turn: Mutex::new(()), worker: Some(worker) })
    }

    /// Allocates the memory that a state will be copied to, so that the first save is as short as the next.
    ///
    /// # Errors
    ///
    /// There isn't enough memory.
    pub fn prepare(&self, state: &State<'_>) -> Result<(), Error> {
        self.staging.prepare(state)
    }

    /// Saves a state: copies it, and returns. What happens to the original afterwards doesn't matter.
    ///
    /// While another save is in flight, the options say what becomes of this one.
    ///
    /// # Errors
    ///
    /// The state can't be copied; or an earlier save failed, and the options say to stop then. With
    /// [`WhenBusy::Replace`], what was queued has given way even where the copy fails: its memory was needed.
    pub fn submit(
        &self,
        id: CheckpointId,
        request: impl Into<SaveRequest>,
        state: &State<'_>,
    ) -> Result<Ticket, Error> {
        self.submit_when(self.options.when_busy, id, request, state)
    }

    /// As [`Saver::submit`], with another answer to what becomes of it while another save is in flight: the last
    /// save before the end has to wait, whatever the others do.
    ///
    /// # Errors
    ///
    /// As [`Saver::submit`].
    pub fn submit_when(
        &self,
        when_busy: WhenBusy,
        id: CheckpointId,
        request: impl Into<SaveRequest>,
        state: &State<'_>,
    ) -> Result<Ticket, Error> {
        let submitted = Instant::now();
        let request = request.into();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let places = match self.queue.admit(when_busy, self.options.on_failure)? {
            Admitted::LeftOut => {
                self.options.tell(&Event::Skipped { step: request.step });
                return Ok(Ticket::over(Outcome::Skipped));
            }
            Admitted::Taken(places, replaced) => {
                if let Some(replaced) = replaced {
                    self.replace(replaced);
                }
                places
            }
        };
        let state = self.staging.stage(state, &places)?;
        let ticket = Ticket::new();
        let job = Job { id, request, state, submitted, retries: 0 };
        self.queue.push(Queued { job, ticket: ticket.clone() });
        Ok(ticket)
    }

    /// Ends a save that was queued. Its memory goes to the one that takes its place.
    fn replace(&self, replaced: Queued) {
        let Queued { job, ticket } = replaced;
        let (id, step) = (job.id, job.request.step);
        drop(job);
        ticket.settle(Ok(Outcome::Replaced));
        self.options.tell(&Event::Replaced { step });
        self.options.end(id, None);
    }

    /// Waits until nothing is in flight, for who saves in another way now.
    ///
    /// # Errors
    ///
    /// An earlier save failed, and the options say to stop then.
    pub fn settle(&self) -> Result<(), Error> {
        self.queue.admit(WhenBusy::Wait, self.options.on_failure).map(drop)
    }

    /// Returns whether a save is in flight. Doesn't wait.
    pub fn is_busy(&self) -> bool {
        self.queue.is_busy()
    }

    /// Waits until nothing is in flight. Further saves may follow.
    ///
    /// # Errors
    ///
    /// The first failure of all saves so far, even where a ticket or an earlier call told of it.
    pub fn finish(&self) -> Result<(), Error> {
        self.queue.finish()
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.queue.close();
        let is_dead = self.worker.take().is_some_and(|worker| worker.join().is_err());
        // A reporter has heard of each when it happened.
        if self.options.reporter.is_none() {
            self.queue.untold().iter().for_each(|line| last_words::say(line));
        }
        if is_dead {
            last_words::say("the thread that saves has panicked: checkpoints may be missing");
        }
    }
}
