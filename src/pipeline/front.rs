use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::checkpoints::Checkpoints;
use super::lease::Lease;
use super::place::Place;
use super::{Notice, PipelineOptions, Stage, StageRun, Why, read};
use crate::Error;
use crate::io::commit::{Disk, Durability, LocalDisk, write_small};
use crate::record::{Level, PipelineState, PipelineStatus, StageRecord, quoted};

/// Work in stages: does each once, and goes on behind the last that is finished.
///
/// While it lives, it holds the lease on its state file: a second process is refused. The first stage that isn't complete,
/// or whose outputs are gone or changed, is where the work goes on; that one and all later ones are done.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let state_file = directory.path().join("pipeline.json");
/// use ckpt::pipeline::{Pipeline, PipelineOptions, Ran, StageRun};
/// use ckpt::record::{Lifetime, PipelineStatus};
///
/// fn work(state_file: &std::path::Path) -> Result<Vec<Ran>, Box<dyn std::error::Error>> {
///     let options = PipelineOptions::default().with_config(&("model-7", 768))?;
///     let mut pipeline = Pipeline::open(state_file, ["extract", "merge"], options)?;
///     let extract = pipeline.run("extract", |stage: &mut StageRun| -> Result<(), Box<dyn std::error::Error>> {
///         let rows = stage.output_with("rows.bin", Lifetime::UntilConsumed)?;
///         std::fs::write(rows, [7; 3])?;
///         stage.value("rows", &3)?;
///         Ok(())
///     })?;
///     let merge = pipeline.run("merge", |stage: &mut StageRun| -> Result<(), Box<dyn std::error::Error>> {
///         let rows = std::fs::read(stage.input("rows.bin")?)?;
///         std::fs::write(stage.output("sum.txt")?, rows.iter().sum::<u8>().to_string())?;
///         Ok(())
///     })?;
///     assert_eq!((pipeline.next(), pipeline.status()), (None, PipelineStatus::Completed));
///     Ok(vec![extract, merge])
/// }
///
/// assert_eq!(work(&state_file)?, [Ran::Done, Ran::Done]);
/// // Another process, later: both are done, and what they left is there.
/// assert_eq!(work(&state_file)?, [Ran::Skipped, Ran::Skipped]);
/// std::fs::remove_file(directory.path().join("sum.txt"))?;
/// assert_eq!(work(&state_file)?, [Ran::Skipped, Ran::Done]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pipeline {
    pub(super) place: Place,
    pub(super) stages: Vec<Stage>,
    pub(super) state: PipelineState,
    pub(super) notices: Vec<Notice>,
    pub(super) checkpoints: Checkpoints,
    pub(super) level: Level,
    /// What was found of the finished stages that were looked at: why each is to be done anew, if it is.
    pub(super) looked: HashMap<String, Option<Why>>,
    /// Whether the state file is an older one, which stays as it is until the next stage has ended.
    pub(super) is_migrated: bool,
    /// Whether the state knows newer times of modification than the state file.
    pub(super) is_touched: bool,
    pub(super) lease: Lease,
}

/// What became of a stage that was to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ran {
    /// It was done.
    Done,
    /// It had been done before, and what it left is there.
    Skipped,
    /// It was done and waits for its review; or it wasn't begun, because an earlier one does.
    AwaitingReview,
}

impl Pipeline {
    /// Opens a pipeline: takes its lease, reads its state, and finds out where the work goes on. Nothing is written but
    /// the lock, until a stage is begun; a state file that can't be used is kept under another name.
    ///
    /// # Errors
    ///
    /// Another process is at work on it: the message says which. The state is stale, and the options say to refuse that;
    /// or a later version of ckpt wrote it: [`ErrorKind::Incompatible`](crate::ErrorKind::Incompatible). A stage has no name,
    /// or that of another. Or a file can't be read.
    pub fn open<S: Into<Stage>>(
        state_file: impl AsRef<Path>,
        stages: impl IntoIterator<Item = S>,
        options: PipelineOptions,
    ) -> Result<Self, Error> {
        Self::on(Arc::new(LocalDisk), state_file, stages, options)
    }

    /// As [`Pipeline::open`], on a disk of the caller's: see [`Disk`]. What stages read and leave is on the real one.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::open`].
    pub fn on<S: Into<Stage>>(
        disk: Arc<dyn Disk>,
        state_file: impl AsRef<Path>,
        stages: impl IntoIterator<Item = S>,
        options: PipelineOptions,
    ) -> Result<Self, Error> {
        let stages = stages.into_iter().map(Into::into).collect();
        let mut pipeline = Self::opened(disk, state_file.as_ref(), Some(stages), options)?;
        pipeline.look_at_all();
        Ok(pipeline)
    }

    /// Opens a pipeline whose stages are those that its state knows, and that [`Pipeline::add`] adds: for who learns of
    /// them one by one. Outputs are looked at when a stage is asked for.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::open`].
    pub fn open_known(state_file: impl AsRef<Path>, options: PipelineOptions) -> Result<Self, Error> {
        Self::opened(Arc::new(LocalDisk), state_file.as_ref(), None, options)
    }

    /// Reads the state of a pipeline, as it stands there: nothing is changed, no lease is taken, no output looked at.
    /// `None` where there is none.
    ///
    /// # Errors
    ///
    /// It is damaged ([`ErrorKind::Corrupted`](crate::ErrorKind::Corrupted)), of a later version
    /// ([`ErrorKind::Incompatible`](crate::ErrorKind::Incompatible)), or can't be read.
    pub fn read(state_file: impl AsRef<Path>) -> Result<Option<PipelineState>, Error> {
        read::state(&Place::of(Arc::new(LocalDisk), state_file.as_ref())?)
    }

    /// Returns the directory of the state file, without symbolic links: relative paths count from here.
    pub fn directory(&self) -> &Path {
        self.place.base()
    }

    /// Returns what was found when it was opened, and is worth a word.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Returns the state, as it is in the file or is about to be.
    pub fn state(&self) -> &PipelineState {
        &self.state
    }

    /// Returns how far the pipeline is, as its state has it: outputs that are gone don't count here.
    pub fn status(&self) -> PipelineStatus {
        self.state.status
    }

    /// Returns the stage where the work goes on; `None` where all are done, or where it is paused for a review.
    pub fn next(&self) -> Option<&str> {
        if self.awaiting_review().is_some() { None } else { self.first_undone() }
    }

    /// Returns the stage that waits for its review, if one does: nothing is begun before [`Pipeline::approve`].
    pub fn awaiting_review(&self) -> Option<&str> {
        self.state.awaiting_review().map(|stage| stage.name.as_str())
    }

    /// Returns whether a stage is complete, as the state has it.
    pub fn is_complete(&self, stage: &str) -> bool {
        self.state.stage(stage).is_some_and(StageRecord::is_complete)
    }

    /// Adds a stage behind the others, or describes one that is there anew.
    ///
    /// # Errors
    ///
    /// It has no name.
    pub fn add(&mut self, stage: impl Into<Stage>) -> Result<(), Error> {
        let stage = stage.into();
        super::open::check_names([&stage])?;
        self.looked.remove(&stage.name);
        if let Some(known) = self.stages.iter_mut().find(|known| known.name == stage.name) {
            *known = stage;
        } else {
            self.state.stages.push(StageRecord::new(stage.name.as_str()));
            self.stages.push(stage);
            self.state.sum_up();
        }
        Ok(())
    }

    /// Does a stage, unless it is done: calls `work`, and completes the stage with what that says it left. A stage that
    /// waits for its review, and all that come behind it, aren't begun.
    ///
    /// # Errors
    ///
    /// That of `work`: the stage has failed then, with its text. Or as those of [`Pipeline::begin`] and
    /// [`Pipeline::complete`].
    pub fn run<E: From<Error> + std::fmt::Display>(
        &mut self,
        stage: &str,
        work: impl FnOnce(&mut StageRun) -> Result<(), E>,
    ) -> Result<Ran, E> {
        if self.is_held_up(stage)? {
            return Ok(Ran::AwaitingReview);
        }
        let Some(mut run) = self.begin(stage)? else { return Ok(Ran::Skipped) };
        match work(&mut run) {
            Ok(()) => Ok(self.complete(run)?),
            Err(error) => {
                // The work's own error is the one to tell of.
                drop(self.fail(run, &error.to_string()));
                Err(error)
            }
        }
    }

    /// Marks a stage as complete that was done by other means; marking it twice is harmless.
    ///
    /// # Errors
    ///
    /// There is no such stage, or its checkpoint or the state can't be written.
    pub fn mark_complete(&mut self, stage: &str) -> Result<(), Error> {
        let number = self.number(stage)?;
        if self.is_complete(stage) {
            return Ok(());
        }
        let run = self.start(number)?;
        self.finish(run, false).map(drop)
    }

    /// Has this process's children hold the lease as well: where it is killed, nobody else gets it before they have ended.
    /// For who runs a stage as a process of its own.
    ///
    /// # Errors
    ///
    /// The system refuses it.
    pub fn hand_down_lease(&self) -> Result<(), Error> {
        let failed = |error| Error::io(self.place.lock(), "hand the lock of the pipeline down", error);
        self.lease.hand_down().map_err(failed)
    }

    /// Returns a stage's number, from 0.
    ///
    /// # Errors
    ///
    /// There is no such stage.
    pub(super) fn number(&self, stage: &str) -> Result<usize, Error> {
        self.stages.iter().position(|known| known.name == stage).ok_or_else(|| {
            let names: Vec<String> = self.stages.iter().map(|stage| quoted(&stage.name)).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("there is no stage {}: the stages are {names}", quoted(stage));
            Error::usage(message).at(self.place.state())
        })
    }

    /// Writes the state.
    ///
    /// # Errors
    ///
    /// It can't be written, or is too long.
    pub(super) fn write(&mut self) -> Result<(), Error> {
        self.state.sum_up();
        self.state.updated = Timestamp::now();
        let text = self.state.encode();
        if text.len() as u64 > PipelineState::MAX_BYTES {
            let message =
                format!("the state is too long: a state file has {} bytes at most", PipelineState::MAX_BYTES);
            return Err(Error::usage(message).at(self.place.state()));
        }
        write_small(self.place.disk(), self.place.state(), text.as_bytes(), Durability::Full)?;
        (self.is_migrated, self.is_touched) = (false, false);
        Ok(())
    }
}
