//! Finished stages as checkpoints: a run beside the state file, in which each is one.
//!
//! A stage's step is its number from 1. Its state is its plain values; the artifact `stage.json` is its record. A stage
//! that is done again begins a new generation, as a training that was walked back does.

use super::place::Place;
use crate::Error;
use crate::digest::Algorithm;
use crate::manager::{CommitOptions, Run, RunLock, SaveRequest, commit, next_id};
use crate::record::{CheckpointId, Manifest, PipelineState, Position, StageRecord, quoted};
use crate::tensor::{State, to_value};

/// The artifact that holds a stage's record.
const RECORD: &str = "stage.json";

/// The entry of the manifest's metadata that names the pipeline.
const PIPELINE: &str = "pipeline";

/// The run of a pipeline's stages.
#[derive(Debug)]
pub(super) struct Checkpoints {
    place: Place,
    /// Opened and locked when the first stage is finished.
    open: Option<(Run, RunLock)>,
}

impl Checkpoints {
    pub(super) fn new(place: &Place) -> Self {
        Self { place: place.clone(), open: None }
    }

    /// Commits a stage's checkpoint, behind that of an earlier stage, and returns the stage's record with its name.
    ///
    /// # Errors
    ///
    /// Somebody else writes to the run, a value is nested too deep, or as [`commit()`].
    pub(super) fn commit(
        &mut self,
        state: &PipelineState,
        number: usize,
        parent: Option<CheckpointId>,
        mut record: StageRecord,
    ) -> Result<StageRecord, Error> {
        let run = self.run()?;
        let step = step(number);
        let id = next_id(run.ids()?.last().copied(), parent, step)?;
        record.checkpoint = Some(id);
        let text = serde_json::to_string_pretty(&record)
            .map_err(|error| Error::usage(format!("the record of the stage can't be written: {error}")))?;
        let mut request = SaveRequest::at(step)
            .with_position(Position::Stage(record.name.clone()))
            .with_metadata(PIPELINE, state.name.as_str())
            .with_artifact(RECORD, text + "\n");
        for (name, amount) in &record.cost {
            request = request.with_metric(name.as_str(), *amount);
        }
        let mut values = State::new();
        for (name, value) in &record.values {
            values.insert(name.as_str(), to_value(value)?)?;
        }
        commit(run, id, parent, &request, &values, &CommitOptions::default())?;
        Ok(record)
    }

    /// Returns the record of a stage that is at work in the state, and whose last attempt the newest checkpoint is of. What
    /// can't be read isn't found: the stage is done anew then.
    pub(super) fn find(&self, pipeline: &str, number: usize, at_work: &StageRecord) -> Option<StageRecord> {
        let run = Run::on(self.place.shared_disk(), &self.place.stages()).ok()?;
        let id = run.ids().ok()?.into_iter().next_back()?;
        let manifest = run.manifest(id).ok()?;
        let is_of_it = id.step == step(number)
            && manifest.position == Position::Stage(at_work.name.clone())
            && manifest.metadata.get(PIPELINE).is_some_and(|name| name == pipeline);
        if !is_of_it {
            return None;
        }
        run.check_sizes(id, &manifest).ok()?;
        let record = record(&run, id, &manifest)?;
        let attempt = |record: &StageRecord| (record.attempts, record.started, record.checkpoint);
        let is_same = attempt(&record) == (at_work.attempts, at_work.started, Some(id));
        (is_same && at_work.started.is_some()).then_some(record)
    }

    /// Returns the run, locked.
    fn run(&mut self) -> Result<&Run, Error> {
        if self.open.is_none() {
            let run = Run::on(self.place.shared_disk(), &self.place.stages())?;
            let lock = run.lock()?;
            self.open = Some((run, lock));
        }
        match &self.open {
            Some((run, _)) => Ok(run),
            None => Err(Error::usage(format!("there is no run {}", quoted(&self.place.default_name())))),
        }
    }
}

/// Returns the step of the stage of a number.
fn step(number: usize) -> u64 {
    (number as u64).saturating_add(1)
}

/// Reads the record that a stage's checkpoint holds, if it is the one that was committed.
fn record(run: &Run, id: CheckpointId, manifest: &Manifest) -> Option<StageRecord> {
    let artifact = manifest.artifacts.iter().find(|artifact| artifact.name == RECORD)?;
    let text = run.disk().read(&run.path(id).join(RECORD), PipelineState::MAX_BYTES).ok()?;
    let digest = Algorithm::Crc64Nvme.digest(&text);
    let is_whole = artifact.digest == format!("{}:{digest}", digest.algorithm());
    if is_whole { serde_json::from_slice(&text).ok() } else { None }
}
