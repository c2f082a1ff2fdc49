use crate::io::commit::Durability;
use crate::validate::{ProgressSink, VerifyOptions};

/// How a checkpoint is copied.
///
/// ```
/// use ckpt::VerifyOptions;
/// use ckpt::save::CopyOptions;
///
/// // Trust the source, which was verified a moment ago; replace nothing.
/// let unchecked = VerifyOptions::default().without_contents();
/// let options = CopyOptions::default().with_verify(unchecked).without_overwriting();
/// assert!(options.verify.skip_contents && !options.overwrite);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// How the source is verified first. Default: at the level [`Load`](crate::Level::Load).
    pub verify: VerifyOptions,
    /// Whether an existing file is replaced. Default: yes; a checkpoint of several files replaces nothing.
    pub overwrite: bool,
    /// What is waited for. Default: the copy is on the device.
    pub durability: Durability,
    /// The most threads to use. Default: 4, also on fewer cores: they wait for the devices.
    pub threads: usize,
    /// Hears of every byte that was written, and again when it was read back.
    pub progress: Option<ProgressSink>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            verify: VerifyOptions::default(),
            overwrite: true,
            durability: Durability::Full,
            threads: 4,
            progress: None,
        }
    }
}

impl CopyOptions {
    /// Sets how the source is verified first.
    #[must_use]
    pub fn with_verify(mut self, verify: VerifyOptions) -> Self {
        self.verify = verify;
        self
    }

    /// Refuses to replace an existing file.
    #[must_use]
    pub fn without_overwriting(mut self) -> Self {
        self.overwrite = false;
        self
    }

    /// Sets the most threads to use; 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets who hears of every byte that was written, and again when it was read back.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressSink) -> Self {
        self.progress = Some(progress);
        self
    }
}
