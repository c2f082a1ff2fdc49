use std::fmt;
use std::sync::Arc;

use super::background::SaverOptions;
use super::retention::Policy;
use super::triggers::TriggerOptions;
use super::{CommitOptions, Event, Semantic};
use crate::save::SaveOptions;

/// How a [`Manager`](super::Manager) goes about it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ManagerOptions {
    /// How checkpoints are saved.
    pub commit: CommitOptions,
    /// How saves in the background go about it, and how often any save is tried. Its reporter hears of everything.
    pub saver: SaverOptions,
    /// Which old checkpoints stay when a new one is durable. Default: all of them.
    pub retention: Option<Policy>,
    /// When [`Manager::should_save`](super::Manager::should_save) says yes. Default: never.
    pub triggers: TriggerOptions,
    /// What of a checkpoint is worth a notice.
    pub semantic: Semantic,
}

impl ManagerOptions {
    /// Sets how states are saved: the format, how deep they are verified, how many threads write.
    #[must_use]
    pub fn with_save(mut self, save: SaveOptions) -> Self {
        self.commit = self.commit.with_save(save);
        self
    }

    /// Sets how saves in the background go about it. A reporter that was set before stays.
    #[must_use]
    pub fn with_saver(mut self, saver: SaverOptions) -> Self {
        let reporter = saver.reporter.clone().or(self.saver.reporter);
        self.saver = SaverOptions { reporter, ..saver };
        self
    }

    /// Sets which old checkpoints stay when a new one is durable.
    #[must_use]
    pub fn with_retention(mut self, policy: Policy) -> Self {
        self.retention = Some(policy);
        self
    }

    /// Sets when it is time to save.
    #[must_use]
    pub fn with_triggers(mut self, triggers: TriggerOptions) -> Self {
        self.triggers = triggers;
        self
    }

    /// Sets what is worth a notice.
    #[must_use]
    pub fn with_semantic(mut self, semantic: Semantic) -> Self {
        self.semantic = semantic;
        self
    }

    /// Sets who hears of what happens, on any thread. It must not save by itself.
    #[must_use]
    pub fn with_reporter(mut self, reporter: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.saver.reporter = Some(Arc::new(reporter));
        self
    }
}

impl fmt::Debug for ManagerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerOptions")
            .field("commit", &self.commit)
            .field("saver", &self.saver)
            .field("retention", &self.retention)
            .field("triggers", &self.triggers)
            .field("semantic", &self.semantic)
            .finish()
    }
}
