use crate::validate::ProgressSink;

/// What [`diff`](super::diff()) is to compare, and how.
///
/// ```
/// use ckpt::save::DiffOptions;
/// let options = DiffOptions::default().with_tolerance(1e-6).with_full();
/// assert!(options.full && !options.keys_only);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiffOptions {
    /// The largest absolute difference of two numbers that counts as none. Default: only equal bits are equal.
    /// Where it is given, any NaN equals any other.
    pub tolerance: Option<f64>,
    /// Whether only names, dtypes and shapes are compared. Default: no.
    pub keys_only: bool,
    /// Whether the data is read even where equal proofs say that it is the same. Default: no.
    pub full: bool,
    /// Globals accepted in a pickle by name (`module.name`), as data. Nothing is executed.
    pub allowed_globals: Vec<String>,
    /// The number of threads that read and compare. 0 counts as 1. Default: one per core, at most 8.
    pub threads: usize,
    /// Hears of every byte that was compared, those of both files.
    pub progress: Option<ProgressSink>,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self {
            tolerance: None,
            keys_only: false,
            full: false,
            allowed_globals: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(8),
            progress: None,
        }
    }
}

impl DiffOptions {
    /// Sets the largest difference that counts as none.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Compares only names, dtypes and shapes.
    #[must_use]
    pub fn with_keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Reads the data even where equal proofs say that it is the same.
    #[must_use]
    pub fn with_full(mut self) -> Self {
        self.full = true;
        self
    }
}
