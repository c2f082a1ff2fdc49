//! The thread that writes.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::attempts::attempt;
use super::queue::Queue;
use super::{OnFailure, Outcome, SaverOptions, last_words, priority};
use crate::Error;
use crate::manager::{Committed, Event, SaveRequest};
use crate::record::CheckpointId;
use crate::tensor::State;

/// A save as the one who writes it gets it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Job {
    /// The checkpoint's name.
    pub id: CheckpointId,
    /// What was asked for.
    pub request: SaveRequest,
    /// The state: a copy that nobody changes.
    pub state: State<'static>,
    /// When it was asked for.
    pub submitted: Instant,
    /// How often it was tried before.
    pub retries: u32,
}

/// Makes one checkpoint, durable when it returns. It is called on the saver's thread, for one job at a time, and
/// again for one that failed: what an attempt leaves behind must not disturb the next one.
pub type Commit = Box<dyn FnMut(&Job) -> Result<Committed, Error> + Send>;

/// Writes one save after the other, until there will be none.
pub(super) fn run(queue: &Queue, options: &SaverOptions, mut commit: Commit) {
    priority::lower(options.niceness);
    while let Some(mut queued) = queue.next() {
        let id = queued.job.id;
        let submitted = queued.job.submitted;
        let mut commit = |retries| {
            queued.job.retries = retries;
            commit(&queued.job)
        };
        let saved = catch_unwind(AssertUnwindSafe(|| attempt(options, id, submitted, &mut commit)));
        let result = saved.unwrap_or_else(|cause| Err(panicked(id, &*cause)));
        let event = match &result {
            Ok(committed) => Event::Saved(committed),
            Err(error) => Event::Failed { id, error },
        };
        options.tell(&event);
        if let (Err(error), None, OnFailure::GoOn) = (&result, &options.reporter, options.on_failure) {
            last_words::say(&format!("{id} isn't saved, and the work goes on: {error}"));
        }
        let saved = result.as_ref().ok().cloned();
        if saved.is_none() {
            options.end(id, None);
        }
        queue.done(queued, result.map(|committed| Outcome::Saved(Box::new(committed))));
        if saved.is_some() {
            options.end(id, saved.as_ref());
        }
    }
}

/// Makes an error of a panic: the job of days goes on, and its next save may succeed.
fn panicked(id: CheckpointId, cause: &(dyn Any + Send)) -> Error {
    let text = cause.downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word");
    let source = io::Error::other(format!("the writer panicked: {text}"));
    Error::io(id.to_string(), "save the checkpoint", source)
}
