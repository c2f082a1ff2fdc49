use std::sync::Arc;
use std::thread::{self, JoinHandle};

use serde::Serialize;

use super::Extraction;
use super::queue::Queue;
use super::trigger::Trigger;
use super::worker::{self, Saver};
use crate::Error;
use crate::manager::background::say_last_words;
use crate::tensor::TensorView;

/// What a worker saved, from its beginning to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExtractionSummary {
    /// Its rank.
    pub rank: u32,
    /// How many shards it saved.
    pub shards: u64,
    /// How many rows they have.
    pub rows: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// Saves the rows that a worker makes, in shards, in the background.
///
/// Rows are copied when they are pushed. They are saved as a shard when there are enough of them or the first of them
/// has waited long enough: see [`ExtractionOptions`](super::ExtractionOptions). That is looked at whenever something is
/// called here, and by the writer's own thread meanwhile, so that rows are also saved where the worker hangs.
///
/// A push is a batch, and never split. A batch that comes in parts is put between [`ShardWriter::begin_batch`] and
/// [`ShardWriter::end_batch`].
///
/// Where a shard can't be saved, every later call fails with the reason; where nobody calls, it is printed when the
/// writer is dropped. Dropping it without [`ShardWriter::finish`] loses the rows that were in no shard yet: they are to
/// do again.
#[derive(Debug)]
pub struct ShardWriter {
    queue: Arc<Queue>,
    worker: Option<JoinHandle<Saver>>,
}

impl ShardWriter {
    /// Takes the rank's lock, and starts the thread.
    pub(super) fn begin(extraction: &Extraction) -> Result<Self, Error> {
        let saver = Saver::begin(extraction)?;
        let Extraction { options, .. } = extraction;
        let queue = Arc::new(Queue::new(Trigger::of(options), options.queue, Arc::clone(&options.clock)));
        let theirs = Arc::clone(&queue);
        let worker = thread::Builder::new()
            .name("ckpt-shards".to_owned())
            .spawn(move || worker::run(&theirs, saver))
            .map_err(|error| Error::usage(format!("can't start the thread that saves shards: {error}")))?;
        Ok(Self { queue, worker: Some(worker) })
    }

    /// Adds rows: a tensor whose first dimension counts them, with an id to each. They are copied. While as many shards
    /// wait as may be in memory, this waits too.
    ///
    /// # Errors
    ///
    /// There isn't one id to each row, or the rows are of another dtype or width than those before them: nothing was
    /// taken then. Or an earlier shard couldn't be saved.
    pub fn push(&mut self, ids: &[impl AsRef<str>], rows: &TensorView<'_>) -> Result<(), Error> {
        self.queue.push(ids, rows)
    }

    /// Begins a batch that comes in parts: nothing is saved until it ends, but in an emergency
    /// ([`ExtractionOptions::emergency`](super::ExtractionOptions::emergency)).
    ///
    /// # Errors
    ///
    /// One is open already, or an earlier shard couldn't be saved.
    pub fn begin_batch(&mut self) -> Result<(), Error> {
        self.queue.set_batch(true)
    }

    /// Ends a batch that came in parts.
    ///
    /// # Errors
    ///
    /// None is open, or an earlier shard couldn't be saved.
    pub fn end_batch(&mut self) -> Result<(), Error> {
        self.queue.set_batch(false)
    }

    /// Looks whether the rows at hand are due, as every other call does, and the writer's thread by itself.
    ///
    /// # Errors
    ///
    /// An earlier shard couldn't be saved.
    pub fn tick(&mut self) -> Result<(), Error> {
        self.queue.tick()
    }

    /// Saves the rows at hand, due or not, also within a batch; and waits until all that were pushed are durable.
    ///
    /// # Errors
    ///
    /// A shard couldn't be saved.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.queue.flush()
    }

    /// Saves what is left, notes that this rank is done, and returns what it saved.
    ///
    /// # Errors
    ///
    /// A shard couldn't be saved, or the rank's record couldn't be written.
    pub fn finish(mut self) -> Result<ExtractionSummary, Error> {
        self.queue.flush()?;
        self.queue.close();
        let Some(worker) = self.worker.take() else { return Err(died()) };
        worker.join().map_err(|_| died())?.finish()
    }
}

/// The error for a thread that is gone.
fn died() -> Error {
    Error::usage("the thread that saves shards has panicked: rows may be missing")
}

impl Drop for ShardWriter {
    fn drop(&mut self) {
        self.queue.close();
        let is_dead = self.worker.take().is_some_and(|worker| worker.join().is_err());
        if let Some(error) = self.queue.untold() {
            say_last_words(&format!("a shard isn't saved: {error}"));
        }
        if is_dead {
            say_last_words(&died().to_string());
        }
    }
}
