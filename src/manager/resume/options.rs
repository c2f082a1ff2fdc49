use crate::record::Level;
use crate::save::LoadOptions;
use crate::validate::Requirement;

/// How [`resume`](super::resume()) goes about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResumeOptions {
    /// How deep a checkpoint is verified. Default: [`Level::Load`], every byte of what is loaded, in the pass that
    /// loads it. With less, damage may show only when the work has gone on for a while.
    pub level: Level,
    /// Whether checkpoints that are intact and of no use here, or can't be read, are skipped as damaged ones are.
    /// Default: no.
    pub force: bool,
    /// How the state is loaded, and which keys it must have. Whether it is verified goes by the level, and what is
    /// verified is read into memory.
    pub load: LoadOptions,
}

impl Default for ResumeOptions {
    fn default() -> Self {
        Self { level: Level::Load, force: false, load: LoadOptions::default() }
    }
}

impl ResumeOptions {
    /// Sets how deep a checkpoint is verified.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Skips what is of no use here, or can't be read, as well.
    #[must_use]
    pub fn with_force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Sets how the state is loaded.
    #[must_use]
    pub fn with_load(mut self, load: LoadOptions) -> Self {
        self.load = load;
        self
    }

    /// Adds a key that the state must have. A checkpoint without it is incompatible.
    #[must_use]
    pub fn with_required(mut self, key: Requirement) -> Self {
        self.load = self.load.with_required(key);
        self
    }
}
