use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use super::Retry;
use crate::manager::{Committed, Event, Reporter};
use crate::record::CheckpointId;
use crate::save::scrub::{Clock, SystemClock};

/// How many threads copy a state at most: more don't make memory faster.
const MAX_COPIERS: usize = 8;

/// What becomes of a save while another is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenBusy {
    /// The call waits until the other is done.
    #[default]
    Wait,
    /// It is left out.
    Skip,
    /// It is queued, and takes the place of one that is queued already; never of the one that is being written.
    /// This takes memory for a second copy of the state.
    Replace,
}

/// What follows when a save has failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// No further save is taken: every later call fails with the reason.
    #[default]
    Stop,
    /// The work goes on, and so do later saves. [`Saver::finish`](super::Saver::finish) tells all the same.
    GoOn,
}

/// How a [`Saver`](super::Saver) goes about it.
#[derive(Clone)]
#[non_exhaustive]
pub struct SaverOptions {
    /// What becomes of a save while another is in flight. Default: it waits.
    pub when_busy: WhenBusy,
    /// What follows when a save has failed for good. Default: stop.
    pub on_failure: OnFailure,
    /// How often a save is tried. Default: five times.
    pub retry: Retry,
    /// How many threads copy the state while the call lasts. Default: one for each core, at most 8.
    pub copiers: usize,
    /// By how much the thread that writes, with those that it starts, gives way to the training where cores are
    /// short: from 0, not at all, to 19. Only on Linux. Default: 10. How many threads write is for
    /// [`SaveOptions::threads`](crate::SaveOptions::threads) to say.
    pub niceness: u8,
    /// Hears what happens, from the saver's thread or from the calling one. It must not save by itself, nor
    /// wait for the saver: they would wait for one another.
    pub reporter: Option<Reporter>,
    /// What waits between two attempts.
    pub clock: Arc<dyn Clock>,
    /// Is called when a save is over: with what was saved, after who waits for it was told; or with nothing, before
    /// that. On the saver's thread, or the calling one; the next save waits for it.
    pub after: Option<After>,
}

/// Who is called when a save is over.
pub type After = Arc<dyn Fn(CheckpointId, Option<&Committed>) + Send + Sync>;

impl Default for SaverOptions {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            when_busy: WhenBusy::default(),
            on_failure: OnFailure::default(),
            retry: Retry::default(),
            copiers: cores.min(MAX_COPIERS),
            niceness: 10,
            reporter: None,
            clock: Arc::new(SystemClock::default()),
            after: None,
        }
    }
}

impl SaverOptions {
    /// Sets what becomes of a save while another is in flight.
    #[must_use]
    pub fn with_when_busy(mut self, when_busy: WhenBusy) -> Self {
        self.when_busy = when_busy;
        self
    }

    /// Sets what follows when a save has failed for good.
    #[must_use]
    pub fn with_on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Sets how often a save is tried.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how many threads copy the state; 0 counts as 1.
    #[must_use]
    pub fn with_copiers(mut self, copiers: usize) -> Self {
        self.copiers = copiers;
        self
    }

    /// Sets by how much the saver gives way to others.
    #[must_use]
    pub fn with_niceness(mut self, niceness: u8) -> Self {
        self.niceness = niceness;
        self
    }

    /// Sets who hears of what happens.
    #[must_use]
    pub fn with_reporter(mut self, reporter: Reporter) -> Self {
        self.reporter = Some(reporter);
        self
    }

    /// Sets what waits between two attempts.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets who is called when a save is over.
    #[must_use]
    pub fn with_after(mut self, after: After) -> Self {
        self.after = Some(after);
        self
    }

    /// Tells the reporter. A panic of its own is its own: the thread that saves has to go on.
    pub(in crate::manager) fn tell(&self, event: &Event<'_>) {
        if let Some(reporter) = &self.reporter {
            catch_unwind(AssertUnwindSafe(|| reporter(event))).unwrap_or_default();
        }
    }

    /// Says that a save is over.
    pub(super) fn end(&self, id: CheckpointId, saved: Option<&Committed>) {
        if let Some(after) = &self.after {
            catch_unwind(AssertUnwindSafe(|| after(id, saved))).unwrap_or_default();
        }
    }
}

impl fmt::Debug for SaverOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaverOptions")
            .field("when_busy", &self.when_busy)
            .field("on_failure", &self.on_failure)
            .field("retry", &self.retry)
            .field("copiers", &self.copiers)
            .field("niceness", &self.niceness)
            .field("reporter", &self.reporter.is_some())
            .finish_non_exhaustive()
    }
}
