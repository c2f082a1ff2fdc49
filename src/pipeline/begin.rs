//! Whether a stage is to be done, and its beginning.

use std::path::PathBuf;

use jiff::Timestamp;

use super::look::{self, Fault};
use super::open::undo;
use super::{Notice, Pipeline, StageRun, Why};
use crate::Error;
use crate::record::{FileRecord, StageRecord, StageStatus, quoted};

impl Pipeline {
    /// Begins a stage; `None` where it is done, and what it left is there. All later stages are to be done anew.
    ///
    /// # Errors
    ///
    /// There is no such stage; an earlier one isn't done; it is to be done, and a stage waits for its review; or the state
    /// can't be written.
    pub fn begin(&mut self, stage: &str) -> Result<Option<StageRun>, Error> {
        let number = self.number(stage)?;
        let is_held_up = self.is_held_up(stage)?;
        if !is_held_up {
            self.check_earlier(number)?;
            if self.why_at(number).is_none() {
                // Files that were read, because their times were others, aren't read again by the next process.
                if self.is_touched && !self.is_migrated {
                    self.write()?;
                }
                return Ok(None);
            }
        }
        if let Some(waiting) = self.awaiting_review() {
            let message = format!(
                "the stage {} waits for its review: approve it first, or have it done anew (reset)",
                quoted(waiting)
            );
            return Err(Error::usage(message).at(self.place.state()));
        }
        self.start(number).map(Some)
    }

    /// Returns why a stage is to be done; `None` where it is done, and what it left is there. What was found once of a
    /// finished stage isn't looked at again.
    ///
    /// # Errors
    ///
    /// There is no such stage.
    pub fn why(&mut self, stage: &str) -> Result<Option<Why>, Error> {
        let number = self.number(stage)?;
        Ok(self.why_at(number))
    }

    /// Returns whether a stage can't be begun because one before it, or it itself, waits for its review.
    pub(super) fn is_held_up(&self, stage: &str) -> Result<bool, Error> {
        let number = self.number(stage)?;
        let waiting = |record: &StageRecord| record.status == StageStatus::AwaitingReview;
        Ok(self.state.stages.iter().position(waiting).is_some_and(|waiting| waiting <= number))
    }

    /// Looks at the outputs of the finished stages, up to the first that is to be done anew.
    pub(super) fn look_at_all(&mut self) {
        for number in 0..self.stages.len() {
            let Some(why) = self.why_at(number) else { continue };
            let is_undone = self.state.stages.get(number).is_some_and(StageRecord::is_complete);
            if let Some(stage) = self.stages.get(number).filter(|_| is_undone) {
                self.notices.push(Notice::Redo { stage: stage.name.clone(), why });
            }
            return;
        }
    }

    /// Returns the first stage that is to be done, as far as it was looked at.
    pub(super) fn first_undone(&self) -> Option<&str> {
        let is_done = |record: &StageRecord| {
            record.is_complete() && !matches!(self.looked.get(&record.name), Some(Some(_)))
        };
        self.state.stages.iter().find(|record| !is_done(record)).map(|record| record.name.as_str())
    }

    /// Refuses to begin a stage before those that come before it are done.
    fn check_earlier(&self, number: usize) -> Result<(), Error> {
        let Some(first) = self.first_undone().and_then(|first| self.number(first).ok()) else {
            return Ok(());
        };
        let (Some(stage), Some(earlier)) = (self.stages.get(number), self.stages.get(first)) else {
            return Ok(());
        };
        if first >= number {
            return Ok(());
        }
        let (stage, earlier) = (quoted(&stage.name), quoted(&earlier.name));
        let message = format!("the stage {stage} comes behind {earlier}, which isn't done: do that first");
        Err(Error::usage(message).at(self.place.state()))
    }

    /// As [`Pipeline::why`], of the stage of a number.
    fn why_at(&mut self, number: usize) -> Option<Why> {
        let record = self.state.stages.get(number)?;
        if !record.is_complete() {
            return Some(Why::NotComplete { status: record.status });
        }
        if let Some(looked) = self.looked.get(&record.name) {
            return looked.clone();
        }
        let name = record.name.clone();
        let why = match self.described_otherwise(number) {
            Some(why) => Some(why),
            None => self.output_fault(number),
        };
        self.looked.insert(name, why.clone());
        why
    }

    /// Looks whether a finished stage was done as it is described now: by its command, and with its inputs and outputs.
    fn described_otherwise(&self, number: usize) -> Option<Why> {
        let (stage, record) = (self.stages.get(number)?, self.state.stages.get(number)?);
        if stage.command.is_some() && record.command.is_some() && stage.command != record.command {
            return Some(Why::CommandChanged);
        }
        let named = |path: &PathBuf| self.place.named(path).unwrap_or_default();
        let is_new = |path: &String| !record.outputs.iter().any(|old| old.path == *path);
        if let Some(path) = stage.outputs.iter().map(named).find(is_new) {
            return Some(Why::OutputNew { path });
        }
        for path in stage.inputs.iter().map(named) {
            let Some(input) = record.inputs.iter().find(|input| input.path == path) else {
                return Some(Why::InputNew { path });
            };
            // One that is gone can't be read anew either.
            if let Err(Fault::Changed(_)) = look::check(&self.place, input, self.level) {
                return Some(Why::InputChanged { path });
            }
        }
        None
    }

    /// Looks whether the outputs of a finished stage are what it left. What is, and was modified at another time, is known
    /// by that time from now on, so that it isn't read again.
    fn output_fault(&mut self, number: usize) -> Option<Why> {
        let record = self.state.stages.get_mut(number)?;
        for output in record.outputs.iter_mut().filter(|output| output.removed.is_none()) {
            let path = output.path.clone();
            match look::check(&self.place, output, self.level) {
                Ok(modified) => {
                    self.is_touched |= modified != output.modified;
                    output.modified = modified;
                }
                Err(Fault::Gone) => return Some(Why::OutputGone { path }),
                Err(Fault::Changed(how)) => return Some(Why::OutputChanged { path, how }),
                Err(Fault::Unreadable(error)) => return Some(Why::OutputUnreadable { path, error }),
            }
        }
        None
    }

    /// Takes note that a stage is begun, and that all behind it are to be done anew.
    ///
    /// # Errors
    ///
    /// The state can't be written.
    pub(super) fn start(&mut self, number: usize) -> Result<StageRun, Error> {
        let known = self.known_files();
        let config = self.state.config.clone();
        let command = self.stages.get(number).and_then(|stage| stage.command.clone());
        for later in self.state.stages.iter_mut().skip(number + 1) {
            undo(later);
        }
        let started = Timestamp::now();
        let (mut name, mut attempt) = (String::new(), 1);
        if let Some(record) = self.state.stages.get_mut(number) {
            undo(record);
            record.status = StageStatus::InProgress;
            record.attempts = record.attempts.saturating_add(1);
            (record.started, record.config, record.command) = (Some(started), config, command);
            (name, attempt) = (record.name.clone(), record.attempts);
        }
        self.looked.clear();
        self.state.sum_up();
        // An older state stays as it is until the stage has ended.
        if !self.is_migrated {
            self.write()?;
        }
        Ok(StageRun::new(name, attempt, started, self.place.clone(), known))
    }

    /// Returns what is known of files: those that were looked at last come first.
    fn known_files(&self) -> Vec<FileRecord> {
        let stages = self.state.stages.iter().rev();
        let files = stages.flat_map(|stage| stage.outputs.iter().chain(&stage.inputs));
        files.cloned().collect()
    }
}
