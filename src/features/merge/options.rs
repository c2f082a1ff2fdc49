use std::path::PathBuf;

use crate::features::table::TableOptions;
use crate::io::Cancel;
use crate::record::Level;
use crate::save::{Format, Progress};

/// What becomes of ids that only one of the inputs has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unmatched {
    /// They are left out, and [`Merged`](crate::record::Merged) lists them.
    #[default]
    Report,
    /// The pair is refused.
    Refuse,
}

/// How feature files are merged.
///
/// ```
/// use ckpt::features::merge::{MergeOptions, Unmatched};
///
/// let options = MergeOptions::default().with_unmatched(Unmatched::Refuse).with_ids_key("sequence_ids");
/// assert!(options.validate && !options.redo);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct MergeOptions {
    /// What becomes of ids that only one input has. Default: they are left out and reported.
    pub unmatched: Unmatched,
    /// Which parts of the inputs are what, and how they are read.
    pub table: TableOptions,
    /// The format of the output. Default: as its extension says.
    pub format: Option<Format>,
    /// Whether the output gets a completion marker (`NAME.done`). Default: no; one that is there is kept true.
    pub marker: bool,
    /// How many pairs are merged at once, at most. Default: two per core, since the device writes one while another is
    /// read; at most 8.
    pub threads: usize,
    /// How deep an output that is there is verified before its pair is skipped, and a new one before it takes its name.
    /// Default: [`Level::Load`].
    pub level: Level,
    /// Whether a new output is read back, from the device, and verified before it takes its name. Default: yes.
    pub validate: bool,
    /// Whether outputs are made anew even where they are there and good. Default: no.
    pub redo: bool,
    /// Hears how many further bytes of outputs were written.
    pub progress: Option<Progress>,
    /// Ends the work from another thread: the outputs that are being written are given up, and no other pair is begun.
    pub cancel: Cancel,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self {
            unmatched: Unmatched::Report,
            table: TableOptions::default(),
            format: None,
            marker: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from).saturating_mul(2).min(8),
            level: Level::Load,
            validate: true,
            redo: false,
            progress: None,
            cancel: Cancel::default(),
        }
    }
}

impl MergeOptions {
    /// Sets what becomes of ids that only one input has.
    #[must_use]
    pub fn with_unmatched(mut self, unmatched: Unmatched) -> Self {
        self.unmatched = unmatched;
        self
    }

    /// Names the key of the ids; once more, for inputs that have another.
    #[must_use]
    pub fn with_ids_key(mut self, key: impl Into<String>) -> Self {
        self.table = self.table.with_ids_key(key);
        self
    }

    /// Names the key of the rows; once more, for inputs that have another.
    #[must_use]
    pub fn with_data_key(mut self, key: impl Into<String>) -> Self {
        self.table = self.table.with_data_key(key);
        self
    }

    /// Names the key of a row's elements, where rows are maps; once more, for inputs that have another.
    #[must_use]
    pub fn with_value_key(mut self, key: impl Into<String>) -> Self {
        self.table = self.table.with_value_key(key);
        self
    }

    /// Sets the format of the output, whatever its extension says.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Asks for a completion marker beside each output.
    #[must_use]
    pub fn with_marker(mut self) -> Self {
        self.marker = true;
        self
    }

    /// Sets how many pairs are merged at once, at most; 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets how deep outputs are verified: those that are there, before their pairs are skipped, and new ones.
    #[must_use]
    pub fn with_verify(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Leaves out the validation of what was written.
    #[must_use]
    pub fn without_validation(mut self) -> Self {
        self.validate = false;
        self
    }

    /// Makes outputs anew even where they are there and good.
    #[must_use]
    pub fn redo(mut self) -> Self {
        self.redo = true;
        self
    }

    /// Sets what ends the work from another thread.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets who hears how many further bytes of outputs were written.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self
    }
}

impl std::fmt::Debug for MergeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeOptions")
            .field("unmatched", &self.unmatched)
            .field("table", &self.table)
            .field("format", &self.format)
            .field("marker", &self.marker)
            .field("threads", &self.threads)
            .field("level", &self.level)
            .field("validate", &self.validate)
            .field("redo", &self.redo)
            .finish_non_exhaustive()
    }
}

/// Two inputs and their output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The first input, whose order the output has.
    pub a: PathBuf,
    /// The second input.
    pub b: PathBuf,
    /// The output.
    pub out: PathBuf,
}

impl Pair {
    /// Makes one.
    pub fn new(a: impl Into<PathBuf>, b: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self { a: a.into(), b: b.into(), out: out.into() }
    }
}
