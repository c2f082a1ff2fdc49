use std::path::PathBuf;
use std::time::Duration;

use crate::validate::{ProgressSink, VerifyOptions};

/// How a [`Scrub`](super::Scrub) goes about it.
///
/// ```
/// use std::time::Duration;
/// use ckpt::save::ScrubOptions;
///
/// // Every night for an hour, each checkpoint about once a month.
/// let options = ScrubOptions::default()
///     .with_time(Duration::from_hours(1))
///     .with_older_than(Duration::from_hours(24 * 30))
///     .with_rate(Some(50 << 20));
/// assert_eq!(options.max_bytes, None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScrubOptions {
    /// How checkpoints are verified. Default: at the level [`Load`](crate::Level::Load). They are always read
    /// around the page cache where the system has a way for that.
    pub verify: VerifyOptions,
    /// The most bytes to read in a second; `None`: as fast as it goes. Default: 100 MiB, of which a device
    /// that others work on takes little notice.
    pub rate: Option<u64>,
    /// How long the run may take: what would take longer, at the rate, isn't begun. Default: no end.
    ///
    /// The first checkpoint is always begun, or a large one would never have its turn. Nothing is stopped
    /// in the middle.
    pub time: Option<Duration>,
    /// How many bytes of checkpoints the run may verify. Default: no end. The first is always begun.
    pub max_bytes: Option<u64>,
    /// What was verified more recently than this is passed over. Default: nothing is.
    pub older_than: Option<Duration>,
    /// Where to remember. Default: [`Scrub::MEMORY`](super::Scrub::MEMORY) in the directory.
    pub memory: Option<PathBuf>,
    /// Hears of every byte that was read.
    pub progress: Option<ProgressSink>,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self {
            verify: VerifyOptions::default(),
            rate: Some(100 << 20),
            time: None,
            max_bytes: None,
            older_than: None,
            memory: None,
            progress: None,
        }
    }
}

impl ScrubOptions {
    /// Sets how checkpoints are verified.
    #[must_use]
    pub fn with_verify(mut self, verify: VerifyOptions) -> Self {
        self.verify = verify;
        self
    }

    /// Sets the most bytes to read in a second; `None` for no bound.
    #[must_use]
    pub fn with_rate(mut self, bytes: Option<u64>) -> Self {
        self.rate = bytes;
        self
    }

    /// Sets how long the run may take.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets how many bytes of checkpoints the run may verify.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Passes over what was verified more recently.
    #[must_use]
    pub fn with_older_than(mut self, age: Duration) -> Self {
        self.older_than = Some(age);
        self
    }

    /// Sets where to remember.
    #[must_use]
    pub fn with_memory(mut self, path: impl Into<PathBuf>) -> Self {
        self.memory = Some(path.into());
        self
    }

    /// Sets who hears of every byte that was read.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressSink) -> Self {
        self.progress = Some(progress);
        self
    }
}
