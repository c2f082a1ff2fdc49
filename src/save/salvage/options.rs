use crate::save::SaveOptions;
use crate::validate::ProgressSink;

/// How [`salvage`](super::salvage()) goes about it.
///
/// ```
/// use ckpt::SaveOptions;
/// use ckpt::save::SalvageOptions;
/// let save = SaveOptions::default().without_overwriting();
/// let options = SalvageOptions::default().with_save(save).with_unproven();
/// assert!(options.unproven && !options.save.overwrite);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SalvageOptions {
    /// Whether tensors are saved as well that lie wholly in the file, and that nothing proves. Default: no.
    pub unproven: bool,
    /// How the new file is written. The damaged file's own metadata is added to that given here.
    pub save: SaveOptions,
    /// Globals accepted in a pickle by name (`module.name`), as data. Nothing is executed.
    pub allowed_globals: Vec<String>,
    /// The number of threads that read. Default: one per core, at most 8.
    pub threads: usize,
    /// Hears of every byte of the damaged file that was checked.
    pub progress: Option<ProgressSink>,
}

impl Default for SalvageOptions {
    fn default() -> Self {
        Self {
            unproven: false,
            save: SaveOptions::default(),
            allowed_globals: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(8),
            progress: None,
        }
    }
}

impl SalvageOptions {
    /// Saves tensors that nothing proves as well.
    #[must_use]
    pub fn with_unproven(mut self) -> Self {
        self.unproven = true;
        self
    }

    /// Sets how the new file is written.
    #[must_use]
    pub fn with_save(mut self, save: SaveOptions) -> Self {
        self.save = save;
        self
    }
}
