use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::background::{Job, Saver, SaverOptions, Ticket, attempt};
use super::resume::{latest, resume, resume_after};
use super::retention::{Plan, Policy};
use super::triggers::{Deadline, Due, Why};
use super::work::Work;
use super::{Committed, Event, Exchange, Latest, ManagerOptions, ResumeOptions, Resumed, Run, SaveRequest};
use crate::Error;
use crate::io::commit::{Disk, LocalDisk};
use crate::record::{CheckpointId, Level, Listed};
use crate::tensor::State;

/// The checkpoints of a training loop: saves them, and says from which the work goes on.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let place = directory.path().join("run");
/// use ckpt::State;
/// use ckpt::manager::retention::Policy;
/// use ckpt::manager::triggers::TriggerOptions;
/// use ckpt::manager::{Manager, ManagerOptions, SaveRequest};
///
/// let options = ManagerOptions::default()
///     .with_triggers(TriggerOptions::default().every_steps(100))
///     .with_retention(Policy::default().keep_last(2));
/// let manager = Manager::open(&place, options)?;
/// let mut step = 0;
/// if let Some(resumed) = manager.resume()? {
///     step = resumed.step(); // and what else is in `resumed.state`
/// }
/// while step < 300 {
///     step += 1; // train
///     if manager.should_save(step).is_some() {
///         let mut state = State::new();
///         state.insert("step", i64::try_from(step)?)?;
///         manager.save_async(SaveRequest::at(step).with_metric("loss", 1.0 / step as f64), &state)?;
///     }
/// }
/// manager.finish()?; // waits, and tells what failed
/// // While a save is in flight, none is due: these steps take no time, and a save does.
/// let left = Manager::open(&place, ManagerOptions::default())?.list()?.len();
/// assert!((1..=2).contains(&left));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The run's lock is taken by the first save, and held until the manager is gone: processes that only read, as
/// those of other ranks, open the same run at the same time.
#[derive(Debug)]
pub struct Manager {
    // Dropped first: its thread is at work.
    saver: Mutex<Option<Arc<Saver>>>,
    work: Arc<Work>,
}

impl Manager {
    /// Opens a run. Its directory is made by the first save. From now on, the signals of the triggers are listened to.
    ///
    /// # Errors
    ///
    /// As [`Run::open`]; or an option makes no sense.
    pub fn open(directory: &Path, options: ManagerOptions) -> Result<Self, Error> {
        Self::on(Arc::new(LocalDisk), directory, options)
    }

    /// As [`Manager::open`], on a disk of the caller's: see [`Disk`]. What is resumed from is read from paths of
    /// the real one.
    ///
    /// # Errors
    ///
    /// As [`Manager::open`].
    pub fn on(disk: Arc<dyn Disk>, directory: &Path, options: ManagerOptions) -> Result<Self, Error> {
        let work = Work::new(Run::on(disk, directory)?, options)?;
        Ok(Self { saver: Mutex::default(), work: Arc::new(work) })
    }

    /// Returns the run.
    pub fn run(&self) -> &Run {
        self.work.keeper.run()
    }

    /// Saves a checkpoint, and returns when it is durable. `request` is the step, or a [`SaveRequest`].
    ///
    /// What is under way in the background is waited for. A failure that may pass is tried again, as the options of
    /// the saver say. A step that isn't after the newest checkpoint, or doesn't go on from it, begins a new generation,
    /// which [`Committed::notices`] say: nothing is ever overwritten.
    ///
    /// # Errors
    ///
    /// Another writer has the run, an earlier save in the background failed (and the options say to stop then, and this
    /// isn't the last save that was due), or as [`commit`](super::commit()). What was there before is as it was.
    pub fn save(&self, request: impl Into<SaveRequest>, state: &State<'_>) -> Result<Committed, Error> {
        let (request, since) = (request.into(), Instant::now());
        let earlier = self.settle();
        // The last save is tried whatever became of others: there will be no other chance. `finish` tells of them.
        let is_last = self.work.triggers().is_last_due();
        let begun = if is_last { Ok(()) } else { earlier }.and_then(|()| self.work.begin(request.step));
        let id = begun.inspect_err(|_| self.skip(request.step))?;
        let result = attempt(&self.work.saver, id, since, |_| self.work.commit(id, since, &request, state));
        self.work.saver.tell(&match &result {
            Ok(committed) => Event::Saved(committed),
            Err(error) => Event::Failed { id, error },
        });
        self.work.end(id, result.is_ok());
        result
    }

    /// Saves a checkpoint in the background: copies the state, and returns. What happens to the original afterwards
    /// doesn't matter.
    ///
    /// While another save is in flight, the options of the saver say what becomes of this one.
    ///
    /// # Errors
    ///
    /// Another writer has the run, the state can't be copied, or an earlier save failed (and the options say to stop
    /// then). That this one fails, its ticket says, and [`Manager::finish`].
    pub fn save_async(&self, request: impl Into<SaveRequest>, state: &State<'_>) -> Result<Ticket, Error> {
        let request = request.into();
        let step = request.step;
        let begun = self.saver().and_then(|saver| Ok((saver, self.work.begin(step)?)));
        let (saver, id) = begun.inspect_err(|_| self.skip(step))?;
        let submitted = saver.submit(id, request, state);
        if submitted.as_ref().map_or(true, Ticket::is_left_out) {
            self.work.end(id, false);
        }
        submitted
    }

    /// Allocates the memory that a state of this size is copied to, so that the first save in the background holds
    /// the loop no longer than the next.
    ///
    /// # Errors
    ///
    /// There isn't enough memory.
    pub fn prepare(&self, state: &State<'_>) -> Result<(), Error> {
        self.saver()?.prepare(state)
    }

    /// Returns whether a save is due after this step, and whether it is the last one. To be asked once per step. What
    /// is saved, or fails, the manager takes note of by itself; a save that is due and not made is due again only
    /// when [`Manager::skip`] was called.
    ///
    /// The last save is best made with [`Manager::save`]: it waits for what is in flight, and is durable when it returns.
    pub fn should_save(&self, step: u64) -> Option<Due> {
        self.work.triggers().should_save(step)
    }

    /// Says that what was due at this step won't be saved.
    pub fn skip(&self, step: u64) {
        self.work.triggers().skipped(step);
    }

    /// Returns what has asked for the end of the job, if anything has.
    pub fn ending(&self) -> Option<Why> {
        self.work.triggers().ending()
    }

    /// Says when the job ends, in place of what the options said.
    pub fn end_by(&self, deadline: Deadline) {
        self.work.triggers().end_by(deadline);
    }

    /// Returns how long there is until the deadline; none where there is none.
    pub fn time_left(&self) -> Option<Duration> {
        self.work.triggers().time_left()
    }

    /// Returns the newest checkpoint that is proven good, loaded; `None` where nothing was saved yet.
    ///
    /// What is saved from now on goes on from it. See [`resume()`] for how it is found.
    ///
    /// # Errors
    ///
    /// As [`resume()`].
    pub fn resume(&self) -> Result<Option<Resumed>, Error> {
        self.resume_with(&ResumeOptions::default())
    }

    /// As [`Manager::resume`], in another way. What is under way in the background is waited for.
    ///
    /// # Errors
    ///
    /// As [`resume()`]; or an earlier save in the background failed (and the options say to stop then).
    pub fn resume_with(&self, options: &ResumeOptions) -> Result<Option<Resumed>, Error> {
        self.settle()?;
        self.go_on_from(resume(self.run(), options))
    }

    /// As [`Manager::resume_with`], in each process of a job: all resume from the same checkpoint, or none does.
    ///
    /// # Errors
    ///
    /// As [`resume_together`](super::resume_together()), and as [`Manager::resume_with`].
    pub fn resume_together(
        &self,
        options: &ResumeOptions,
        exchange: &dyn Exchange,
    ) -> Result<Option<Resumed>, Error> {
        // A process that has nothing to resume to must say so to the others.
        self.go_on_from(resume_after(self.settle(), self.run(), options, exchange))
    }

    /// Lists the checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// As [`Run::list`].
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        self.run().list()
    }

    /// Returns the newest checkpoint that passes a level, without loading it.
    ///
    /// # Errors
    ///
    /// As [`latest()`].
    pub fn latest(&self, level: Level) -> Result<Option<Latest>, Error> {
        latest(self.run(), &ResumeOptions::default().with_level(level))
    }

    /// Decides which checkpoints may go, and touches none: [`Manager::prune`] does what the plan says. (What the
    /// options' own policy lets go is removed after every save.)
    ///
    /// # Errors
    ///
    /// The run can't be listed, or as [`plan()`](super::retention::plan()).
    pub fn plan(&self, policy: &Policy) -> Result<Plan, Error> {
        self.work.plan(policy)
    }

    /// Removes what a plan lets go, oldest first, and returns what was removed.
    ///
    /// # Errors
    ///
    /// Another writer has the run, or one can't be removed: what is newer than that is left.
    pub fn prune(&self, plan: &Plan) -> Result<Vec<CheckpointId>, Error> {
        self.settle()?;
        self.work.keeper.lock()?;
        self.work.apply(plan).into_result()
    }

    /// Ends the work: what is under way is waited for, and the run is free for other writers.
    ///
    /// # Errors
    ///
    /// A save in the background failed, now or before: the first one that did. Or old checkpoints that should have gone
    /// are still there, and there was no reporter to say so.
    pub fn finish(self) -> Result<(), Error> {
        let saver = self.saver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = saver.as_ref().map_or(Ok(()), |saver| saver.finish());
        // Its thread may still be removing old checkpoints.
        drop(saver);
        result.and_then(|()| self.work.tell_unheard())
    }

    /// Returns the saver; its thread begins with the first save in the background.
    fn saver(&self) -> Result<Arc<Saver>, Error> {
        let mut place = self.saver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(saver) = &*place {
            return Ok(Arc::clone(saver));
        }
        let (work, ending) = (Arc::clone(&self.work), Arc::clone(&self.work));
        let commit = move |job: &Job| work.commit(job.id, job.submitted, &job.request, &job.state);
        let after = move |id: CheckpointId, saved: Option<&Committed>| {
            ending.end(id, saved.is_some());
            if let Some(after) = &ending.saver.after {
                after(id, saved);
            }
        };
        let options: SaverOptions = self.work.saver.clone().with_after(Arc::new(after));
        let saver = Arc::new(Saver::new(options, commit)?);
        *place = Some(Arc::clone(&saver));
        Ok(saver)
    }

    /// Waits until nothing is in flight.
    fn settle(&self) -> Result<(), Error> {
        let saver = self.saver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        saver.map_or(Ok(()), |saver| saver.settle())
    }

    fn go_on_from(&self, resumed: Result<Option<Resumed>, Error>) -> Result<Option<Resumed>, Error> {
        if let Ok(Some(resumed)) = &resumed {
            self.work.resumed(resumed);
        }
        resumed
    }
}
