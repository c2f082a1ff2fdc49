use std::fmt;
use std::sync::Arc;

use super::{CommitOptions, Event, Reporter};
use crate::save::SaveOptions;

/// How a [`Manager`](super::Manager) goes about it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ManagerOptions {
    /// How checkpoints are saved.
    pub commit: CommitOptions,
    /// Who hears of what happens.
    pub reporter: Option<Reporter>,
}

impl ManagerOptions {
    /// Sets how states are saved: the format, how deep they are verified, how many threads write.
    #[must_use]
    pub fn with_save(mut self, save: SaveOptions) -> Self {
        self.commit = self.commit.with_save(save);
        self
    }

    /// Sets who hears of what happens.
    #[must_use]
    pub fn with_reporter(mut self, reporter: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.reporter = Some(Arc::new(reporter));
        self
    }
}

impl fmt::Debug for ManagerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerOptions").field("commit", &self.commit).finish_non_exhaustive()
    }
}
