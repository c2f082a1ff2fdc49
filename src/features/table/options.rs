use crate::validate::ProgressSink;

/// Files of at most this many bytes are read into memory at once, and checked in that pass, unless they are in the page
/// cache: to read their rows from there is faster than to make room for them once more. Measured on 40 pairs of 64 MiB: 0.66 to
/// 0.70 of the device's limit, and 0.55 to 0.59.
const EAGER_BYTES: u64 = 128 << 20;

/// Which parts of a feature file are what, and how it is read.
///
/// Nothing has to be named where the file says it by itself: see [`Table`](super::Table).
///
/// ```
/// use ckpt::features::table::TableOptions;
///
/// let options = TableOptions::default().with_ids_key("proteins").with_value_key("mean_representation");
/// assert_eq!(options.ids_keys, ["proteins"]);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TableOptions {
    /// The key of the ids. Of several, each file must have exactly one. Default: `ids`, `nucleotide` or `proteins`, or
    /// the only list of texts.
    pub ids_keys: Vec<String>,
    /// The key of the rows. Of several, each file must have exactly one. Default: `data`, or the only value that can
    /// be rows.
    pub data_keys: Vec<String>,
    /// The key of a row's elements, where a row is a map. Of several, each file must have exactly one. Default:
    /// `mean_representation`, or the only value that can be the elements.
    pub value_keys: Vec<String>,
    /// Files of more bytes than this are checked first and then read row by row, whenever a row is wanted; others are read
    /// into memory, and checked in that pass. Default: 128 MiB, or none where the page cache holds the file.
    pub eager_bytes: Option<u64>,
    /// The number of threads that read one file. Default: as [`LoadOptions`](crate::LoadOptions) has it.
    pub threads: Option<usize>,
    /// Hears of every byte that was read.
    pub progress: Option<ProgressSink>,
}

impl TableOptions {
    /// Names the key of the ids; once more, for files that have another.
    #[must_use]
    pub fn with_ids_key(mut self, key: impl Into<String>) -> Self {
        self.ids_keys.push(key.into());
        self
    }

    /// Names the key of the rows; once more, for files that have another.
    #[must_use]
    pub fn with_data_key(mut self, key: impl Into<String>) -> Self {
        self.data_keys.push(key.into());
        self
    }

    /// Names the key of a row's elements; once more, for files that have another.
    #[must_use]
    pub fn with_value_key(mut self, key: impl Into<String>) -> Self {
        self.value_keys.push(key.into());
        self
    }

    /// Sets how large a file may be to be read into memory at once.
    #[must_use]
    pub fn with_eager_bytes(mut self, bytes: u64) -> Self {
        self.eager_bytes = Some(bytes);
        self
    }

    /// Returns how large a file may be to be read into memory at once.
    pub(in crate::features) fn most_in_memory(&self) -> u64 {
        self.eager_bytes.unwrap_or(EAGER_BYTES)
    }

    /// Sets the number of threads that read one file; 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }
}
