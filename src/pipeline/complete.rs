//! The end of a stage.
//!
//! When its work is done, in this order: its outputs are synced and read, the checkpoint is committed, and the state is
//! written. A process that ends between the last two has finished the stage: the next one finds the checkpoint.

use std::io;

use jiff::Timestamp;

use super::{Pipeline, Ran, StageRun, look};
use crate::Error;
use crate::io::commit::sync_tree;
use crate::record::{FileRecord, Review, StageRecord, StageStatus, quoted};

/// What of an error's text is kept, in bytes: a traceback is, a log isn't.
const MAX_ERROR_BYTES: usize = 16 << 10;

impl Pipeline {
    /// Completes a stage: makes what it left durable, takes its digests, commits the stage's checkpoint, and writes the
    /// state. A stage that asks for a review waits for that from now on.
    ///
    /// # Errors
    ///
    /// An output isn't there, can't be read, or is damaged; or the checkpoint can't be committed: the stage has failed
    /// then. The state can't be written: then the stage is done, and the next process finds that out. Or the attempt isn't
    /// the stage's last one.
    pub fn complete(&mut self, run: StageRun) -> Result<Ran, Error> {
        let asks = self.stages.iter().any(|stage| stage.name == run.stage && stage.review);
        self.finish(run, asks)
    }

    /// Takes note that a stage has failed.
    ///
    /// # Errors
    ///
    /// The state can't be written, or the attempt isn't the stage's last one.
    pub fn fail(&mut self, run: StageRun, error: &str) -> Result<(), Error> {
        let number = self.current(&run)?;
        let mut record = self.ended(number, run);
        record.status = StageStatus::Failed;
        let end = error.floor_char_boundary(MAX_ERROR_BYTES);
        record.error = Some(error.get(..end).unwrap_or_default().to_owned());
        self.put(number, record);
        self.write()
    }

    /// As [`Pipeline::complete`]; `asks` for a review.
    pub(super) fn finish(&mut self, run: StageRun, asks: bool) -> Result<Ran, Error> {
        let number = self.current(&run)?;
        let before = self.state.stages.get(number).cloned();
        match self.committed(number, run, asks) {
            Ok(record) => {
                self.looked.insert(record.name.clone(), None);
                self.put(number, record);
                self.write()?;
                Ok(if asks { Ran::AwaitingReview } else { Ran::Done })
            }
            Err(error) => {
                if let Some(mut record) = before {
                    record.status = StageStatus::Failed;
                    record.finished = Some(Timestamp::now());
                    record.error = Some(error.to_string());
                    self.put(number, record);
                    // The first error is the one to tell of.
                    drop(self.write());
                }
                Err(error)
            }
        }
    }

    /// Makes a stage's outputs durable and commits its checkpoint; returns the record that goes into the state.
    fn committed(&mut self, number: usize, run: StageRun, asks: bool) -> Result<StageRecord, Error> {
        let outputs = run.outputs.clone();
        let mut record = self.ended(number, run);
        for (path, lifetime) in outputs {
            let output = self.left(&record.name, &path)?;
            record.outputs.push(output.with_lifetime(lifetime));
        }
        record.status = if asks { StageStatus::AwaitingReview } else { StageStatus::Completed };
        record.review = asks.then(|| Review::new(Timestamp::now()));
        self.commit(number, record)
    }

    /// Commits the checkpoint of a stage, and returns the stage's record with its name.
    pub(super) fn commit(&mut self, number: usize, record: StageRecord) -> Result<StageRecord, Error> {
        let mut earlier = self.state.stages.iter().take(number).rev();
        let parent = earlier.find_map(|stage| stage.checkpoint);
        self.checkpoints.commit(&self.state, number, parent, record)
    }

    /// Makes an output durable, and takes its digest.
    fn left(&self, stage: &str, path: &str) -> Result<FileRecord, Error> {
        let there = self.place.file(path);
        let missing = || {
            let message = format!("the stage {} was to leave it, and it isn't there", quoted(stage));
            Error::nothing(&there, message)
        };
        let Some(glance) = look::glance(&there)? else { return Err(missing()) };
        self.make_durable(path, glance.files.is_some())?;
        look::record(&self.place, path)?.ok_or_else(missing)
    }

    /// Makes a file durable, or a directory of files, with its name.
    pub(super) fn make_durable(&self, path: &str, is_directory: bool) -> Result<(), Error> {
        let path = &self.place.file(path);
        let failed = |error: io::Error| Error::io(path, "make it durable", error);
        let disk = self.place.disk();
        let path = disk.resolve(path).map_err(failed)?;
        if is_directory {
            sync_tree(disk, &path)?;
        } else {
            disk.sync_file(&path).map_err(failed)?;
        }
        path.parent().map_or(Ok(()), |parent| disk.sync_directory(parent)).map_err(failed)
    }

    /// Returns the number of the stage that an attempt is at.
    ///
    /// # Errors
    ///
    /// Another attempt was begun since, or the stage was reset.
    fn current(&self, run: &StageRun) -> Result<usize, Error> {
        let number = self.number(&run.stage)?;
        let is_current = |record: &StageRecord| {
            record.status == StageStatus::InProgress
                && (record.attempts, record.started) == (run.attempt, Some(run.started))
        };
        if self.state.stages.get(number).is_some_and(is_current) {
            return Ok(number);
        }
        let message = format!("this attempt at the stage {} isn't its last one any more", quoted(&run.stage));
        Err(Error::usage(message).at(self.place.state()))
    }

    /// Returns the record of a stage whose attempt has ended, but for how.
    fn ended(&self, number: usize, run: StageRun) -> StageRecord {
        let mut record = self.state.stages.get(number).cloned().unwrap_or_default();
        record.finished = Some(Timestamp::now());
        record.seconds = (run.since.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        (record.inputs, record.values, record.cost) = (run.inputs, run.values, run.cost);
        record
    }

    /// Puts a stage's record into the state.
    pub(super) fn put(&mut self, number: usize, record: StageRecord) {
        if let Some(place) = self.state.stages.get_mut(number) {
            *place = record;
        }
        self.state.sum_up();
    }
}
