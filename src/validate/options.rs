use std::fmt;
use std::sync::Arc;

use super::Requirement;
use crate::format::torch::ReadOptions;
use crate::io::Cancel;
use crate::record::{Level, TensorInfo};

/// What [`verify`](super::verify) is to check.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct VerifyOptions {
    /// The deepest level to check. Default: [`Level::Load`], or [`Level::Keys`] where
    /// `requirements` or `like` ask for keys.
    pub level: Level,
    /// Checks presence, size and completion marker only, whatever the level: the fast path.
    pub skip_contents: bool,
    /// The keys that the checkpoint must have.
    pub requirements: Vec<Requirement>,
    /// The tensors of a reference checkpoint, whose names, dtypes and shapes are asked for.
    pub like: Option<Arc<Vec<TensorInfo>>>,
    /// Makes a missing completion marker a failure.
    pub require_marker: bool,
    /// Globals accepted in a pickle by name (`module.name`), as data. Nothing is executed.
    pub allowed_globals: Vec<String>,
    /// Applies the rules for `version` and `status` to files that aren't tagged as ckpt's own.
    pub compat: bool,
    /// Reads from the device what the page cache holds, as far as the system allows that: the medium is what is
    /// checked. Default: no.
    pub fresh: bool,
    /// The number of threads that read and checksum one large file. Default: one per core, at most 8.
    pub threads: usize,
    /// Hears of every byte that was checked.
    pub progress: Option<ProgressSink>,
    /// Hears of every byte of a file that was really read, and may take its time: the check waits for it.
    pub reads: Option<ProgressSink>,
    /// Ends the check, from another thread: the report is `unreadable` then, with the code `cancelled`.
    pub cancel: Option<Cancel>,
}

impl Default for VerifyOptions {
    /// Checks the contents, asks for no keys and no marker, and allows no names.
    fn default() -> Self {
        Self {
            level: Level::Load,
            skip_contents: false,
            requirements: Vec::new(),
            like: None,
            require_marker: false,
            allowed_globals: Vec::new(),
            compat: false,
            fresh: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(8),
            progress: None,
            reads: None,
            cancel: None,
        }
    }
}

impl VerifyOptions {
    /// Returns how PyTorch files are to be read.
    pub(super) fn read_options(&self) -> ReadOptions {
        ReadOptions::default().with_allowed_globals(self.allowed_globals.iter().cloned())
    }

    /// Sets the deepest level.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Leaves the contents unread: presence, size, completion marker only.
    #[must_use]
    pub fn without_contents(mut self) -> Self {
        self.skip_contents = true;
        self
    }

    /// Sets the number of threads that read one large file. 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets what ends the check.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Adds a requirement, and deepens the level to [`Level::Keys`].
    #[must_use]
    pub fn with_requirement(mut self, requirement: Requirement) -> Self {
        self.requirements.push(requirement);
        self.level = Level::Keys;
        self
    }
}

/// A callback that is told how many further bytes were checked; called from several threads.
#[derive(Clone)]
pub struct ProgressSink(Arc<dyn Fn(u64) + Send + Sync>);

impl ProgressSink {
    /// Wraps a callback.
    pub fn new(callback: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    /// Tells of `bytes` further bytes.
    pub fn add(&self, bytes: u64) {
        (self.0)(bytes);
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressSink")
    }
}
