use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::config::config_digest;
use crate::Error;
use crate::record::Level;

/// What becomes of a state whose source or configuration is another one now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnStale {
    /// It is an error, which says what differs.
    #[default]
    Refuse,
    /// All stages are done anew.
    Restart,
    /// The stages that are done stay so, and the others are done with what is there now.
    Resume,
}

/// How a [`Pipeline`](super::Pipeline) is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// What the pipeline is called. Default: as the state file, without its extension.
    pub name: Option<String>,
    /// How deep the outputs of finished stages are looked at. Default: [`Level::Container`].
    ///
    /// At [`Level::Size`], an output is there, with its size; where its time of modification is another one, its bytes are
    /// read, and their digest decides. At [`Level::Container`], the structure of checkpoints is read as well. From
    /// [`Level::Load`] on, every byte is read.
    pub level: Level,
    /// What the pipeline is made from: a change of it makes the state stale. A relative path counts from the directory of
    /// the state file.
    pub source: Option<PathBuf>,
    /// The digest of the configuration: a change of it makes the state stale.
    pub config: Option<String>,
    /// What becomes of a stale state.
    pub on_stale: OnStale,
    /// Whether all stages are done anew, stale or not.
    pub force_restart: bool,
    /// What others are told who come while this pipeline is open, beside process, machine and time.
    pub holder: Option<String>,
    /// The caller's own words: added to those of the state.
    pub metadata: BTreeMap<String, String>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            name: None,
            level: Level::Container,
            source: None,
            config: None,
            on_stale: OnStale::Refuse,
            force_restart: false,
            holder: None,
            metadata: BTreeMap::new(),
        }
    }
}

impl PipelineOptions {
    /// Sets what the pipeline is called.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how deep the outputs of finished stages are looked at.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Sets what the pipeline is made from.
    #[must_use]
    pub fn with_source(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Some(path.into());
        self
    }

    /// Sets the configuration: anything that `serde` can serialise. What counts is its canonical JSON, in which the
    /// order of keys and the spaces don't matter.
    ///
    /// # Errors
    ///
    /// It can't be serialised as JSON.
    pub fn with_config<T: Serialize + ?Sized>(mut self, config: &T) -> Result<Self, Error> {
        self.config = Some(config_digest(config)?);
        Ok(self)
    }

    /// Sets what becomes of a stale state.
    #[must_use]
    pub fn on_stale(mut self, on_stale: OnStale) -> Self {
        self.on_stale = on_stale;
        self
    }

    /// Has all stages done anew, stale or not.
    #[must_use]
    pub fn with_force_restart(mut self) -> Self {
        self.force_restart = true;
        self
    }

    /// Goes on with a stale state: [`OnStale::Resume`].
    #[must_use]
    pub fn with_force_resume(self) -> Self {
        self.on_stale(OnStale::Resume)
    }

    /// Sets what others are told who come while this pipeline is open.
    #[must_use]
    pub fn with_holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// Adds an entry to the state's metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}
