use std::collections::BTreeMap;

use crate::record::Position;

/// What is to be saved beside the state: at which step, and what is known of it.
///
/// ```
/// use ckpt::manager::SaveRequest;
/// let request = SaveRequest::at(1200).with_metric("val_loss", 0.31).with_metadata("host", "a7");
/// assert_eq!(SaveRequest::from(1200), SaveRequest::at(1200));
/// # drop(request);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SaveRequest {
    /// The number of training steps that were taken.
    pub step: u64,
    /// Where in the work it is made, which the manifest and the proof say. Default: at the step.
    pub position: Option<Position>,
    /// What was measured at this step. The best checkpoints are chosen by it. JSON has no NaN and no infinity:
    /// such a metric is left out of the manifest, and the checkpoint is as good as any.
    pub metrics: BTreeMap<String, f64>,
    /// The caller's own words.
    pub metadata: BTreeMap<String, String>,
    /// Further small files, by name: a JSON, a picture.
    pub artifacts: BTreeMap<String, Vec<u8>>,
}

impl SaveRequest {
    /// Makes a request of nothing but a state.
    pub fn at(step: u64) -> Self {
        Self { step, ..Self::default() }
    }

    /// Sets where in the work it is made, where that isn't a training step: behind a finished stage. The step is then the
    /// stage's number.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// use ckpt::manager::{CommitOptions, Run, SaveRequest, commit};
    /// use ckpt::record::Position;
    ///
    /// let run = Run::open(directory.path())?;
    /// let lock = run.lock()?;
    /// let request = SaveRequest::at(2).with_position(Position::Stage("merge".into()));
    /// let id = "step-0000000002".parse()?;
    /// commit(&run, id, None, &request, &Default::default(), &CommitOptions::default())?;
    /// assert_eq!(run.manifest(id)?.position, Position::Stage("merge".into()));
    /// # drop(lock);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_position(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds what was measured. What isn't finite (NaN) is left out: it is never the best.
    #[must_use]
    pub fn with_metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }

    /// Adds an entry to the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a small file, which becomes an artifact of the checkpoint.
    #[must_use]
    pub fn with_artifact(mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.artifacts.insert(name.into(), bytes.into());
        self
    }
}

impl From<u64> for SaveRequest {
    fn from(step: u64) -> Self {
        Self::at(step)
    }
}
