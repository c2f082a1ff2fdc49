use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::look;
use super::place::Place;
use crate::Error;
use crate::record::{FileRecord, Lifetime, quoted};
use crate::tensor::to_value;

/// One attempt at a stage: collects what it reads, leaves and comes to.
///
/// It is ended by [`Pipeline::complete`](super::Pipeline::complete) or [`Pipeline::fail`](super::Pipeline::fail). One that is
/// dropped leaves its stage `in_progress`, as a process does that is killed: the stage is done anew.
#[derive(Debug)]
pub struct StageRun {
    pub(super) stage: String,
    pub(super) attempt: u32,
    pub(super) started: Timestamp,
    pub(super) since: Instant,
    pub(super) inputs: Vec<FileRecord>,
    pub(super) outputs: Vec<(String, Lifetime)>,
    pub(super) values: Map<String, Value>,
    pub(super) cost: BTreeMap<String, f64>,
    place: Place,
    /// What the pipeline knows of files: a large one is read once.
    known: Vec<FileRecord>,
}

impl StageRun {
    pub(super) fn new(
        stage: String,
        attempt: u32,
        started: Timestamp,
        place: Place,
        known: Vec<FileRecord>,
    ) -> Self {
        let (inputs, outputs, values, cost) = (Vec::new(), Vec::new(), Map::new(), BTreeMap::new());
        Self { stage, attempt, started, since: Instant::now(), inputs, outputs, values, cost, place, known }
    }

    /// Returns the stage's name.
    pub fn name(&self) -> &str {
        &self.stage
    }

    /// Returns the number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Says that the stage reads a file, or a directory of files, and takes its digest now: before the stage reads it. One
    /// that has the size and the time of modification with which the pipeline knows it isn't read. Returns where it is: a
    /// relative path counts from the directory of the state file.
    ///
    /// # Errors
    ///
    /// It isn't there, can't be read, or carries a proof and is damaged.
    pub fn input(&mut self, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let named = self.place.named(path.as_ref())?;
        let there = self.place.file(&named);
        let Some(record) = look::recorded(&self.place, &named, &self.known)? else {
            let message = format!("it isn't there, and the stage {} reads it", quoted(&self.stage));
            return Err(Error::nothing(there, message));
        };
        self.inputs.retain(|input| input.path != named);
        self.inputs.push(record);
        Ok(there)
    }

    /// Says that the stage leaves a file, or a directory of files. It may be written before or after; when the stage is
    /// complete it must be there. Returns where it is to be, as [`StageRun::input`] does.
    ///
    /// # Errors
    ///
    /// The path can't be recorded.
    pub fn output(&mut self, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.output_with(path, Lifetime::Keep)
    }

    /// As [`StageRun::output`], of a file that is needed for a while: see
    /// [`Pipeline::plan_cleanup`](super::Pipeline::plan_cleanup).
    ///
    /// # Errors
    ///
    /// As [`StageRun::output`].
    pub fn output_with(&mut self, path: impl AsRef<Path>, lifetime: Lifetime) -> Result<PathBuf, Error> {
        let named = self.place.named(path.as_ref())?;
        let there = self.place.file(&named);
        self.outputs.retain(|(output, _)| *output != named);
        self.outputs.push((named, lifetime));
        Ok(there)
    }

    /// Sets what the stage came to beside files: numbers, texts, lists, whatever `serde` can write as JSON. (JSON has no
    /// NaN: it becomes null.)
    ///
    /// # Errors
    ///
    /// The value can't be written as JSON, or is nested too deep.
    pub fn value<T: Serialize + ?Sized>(&mut self, name: impl Into<String>, value: &T) -> Result<(), Error> {
        let name = name.into();
        let value = serde_json::to_value(value).map_err(|error| {
            Error::usage(format!("the value {} can't be written as JSON: {error}", quoted(&name)))
        })?;
        // The checkpoint holds it as well.
        to_value(&value)?;
        self.values.insert(name, value);
        Ok(())
    }

    /// Sets what the stage cost, by what is counted. What isn't finite (NaN) is left out: JSON has none.
    pub fn cost(&mut self, name: impl Into<String>, amount: f64) {
        if amount.is_finite() {
            self.cost.insert(name.into(), amount);
        }
    }
}
