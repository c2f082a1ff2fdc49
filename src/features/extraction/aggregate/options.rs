use crate::save::SaveOptions;

/// How [`aggregate`](super::aggregate()) goes about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AggregateOptions {
    /// Whether ids that have no row are left out of the file. Default: no, they are an error.
    pub allow_missing: bool,
    /// How the file is saved. Its format goes by the name, unless it is given.
    pub save: SaveOptions,
}

impl AggregateOptions {
    /// Leaves ids out that have no row.
    #[must_use]
    pub fn allow_missing(mut self) -> Self {
        self.allow_missing = true;
        self
    }

    /// Sets how the file is saved.
    #[must_use]
    pub fn with_save(mut self, save: SaveOptions) -> Self {
        self.save = save;
        self
    }
}
