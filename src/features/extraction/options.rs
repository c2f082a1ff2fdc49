use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::manager::background::Retry;
use crate::save::scrub::{Clock, SystemClock};
use crate::save::{Format, SaveOptions};

/// How many times the time of a shard the emergency delay is, unless it is given.
const EMERGENCY_FACTOR: u32 = 3;

/// How an [`Extraction`](super::Extraction) saves its shards.
#[derive(Clone)]
#[non_exhaustive]
pub struct ExtractionOptions {
    /// A shard is saved when it has this many rows; 0 counts as 1. Default: 10,000.
    pub rows: u64,
    /// A shard is saved when its first row has waited this long. Default: five minutes.
    pub time: Duration,
    /// How long a row waits at most while a batch is open, in which nothing is saved otherwise. Default: three times
    /// [`ExtractionOptions::time`].
    pub emergency: Option<Duration>,
    /// The format of the shards. Default: [`Format::Safetensors`].
    pub format: Format,
    /// How many shards are in memory at most, beside the one that is being filled: the one that is being written and
    /// those that wait for it; 0 counts as 1. Default: 1.
    pub queue: usize,
    /// How each shard is saved. Its format, marker, metadata and whether files are replaced are the extraction's to
    /// say.
    pub save: SaveOptions,
    /// How often a shard is tried that can't be saved for a reason that may pass. Default: five times, over 15 seconds.
    pub retry: Retry,
    /// What says how long rows have waited, and waits between two attempts.
    pub clock: Arc<dyn Clock>,
}

impl Default for ExtractionOptions {
    fn default() -> Self {
        Self {
            rows: 10_000,
            time: Duration::from_mins(5),
            emergency: None,
            format: Format::Safetensors,
            queue: 1,
            save: SaveOptions::default(),
            retry: Retry::default(),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

impl ExtractionOptions {
    /// Sets how many rows a shard has, but for what the batch that fills it has more.
    #[must_use]
    pub fn with_rows(mut self, rows: u64) -> Self {
        self.rows = rows;
        self
    }

    /// Sets how long a row waits for its shard to be saved, outside of a batch.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Sets how long a row waits at most, also within a batch.
    #[must_use]
    pub fn with_emergency(mut self, emergency: Duration) -> Self {
        self.emergency = Some(emergency);
        self
    }

    /// Sets the format of the shards: [`Format::Safetensors`] or [`Format::Torch`].
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets how many shards are in memory at most, beside the one that is being filled.
    #[must_use]
    pub fn with_queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }

    /// Sets how each shard is saved.
    #[must_use]
    pub fn with_save(mut self, save: SaveOptions) -> Self {
        self.save = save;
        self
    }

    /// Leaves out the validation of each shard when it is written; a resume validates all of them anyway.
    #[must_use]
    pub fn without_validation(mut self) -> Self {
        self.save = self.save.without_validation();
        self
    }

    /// Sets how often a shard is tried.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets what says how long rows have waited.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns how long a row waits at most.
    pub(super) fn longest_wait(&self) -> Duration {
        let default = || self.time.saturating_mul(EMERGENCY_FACTOR);
        // A shorter one than the usual wait would make every wait an emergency.
        self.emergency.unwrap_or_else(default).max(self.time)
    }
}

impl fmt::Debug for ExtractionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractionOptions")
            .field("rows", &self.rows)
            .field("time", &self.time)
            .field("emergency", &self.emergency)
            .field("format", &self.format)
            .field("queue", &self.queue)
            .field("save", &self.save)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
