use std::path::Path;
use std::sync::Arc;

use super::keeper::Keeper;
use super::resume::{latest, resume, resume_together};
use super::{
    Committed, Event, Exchange, Latest, ManagerOptions, Reporter, ResumeOptions, Resumed, Run, SaveRequest,
};
use crate::Error;
use crate::io::commit::{Disk, LocalDisk};
use crate::record::{Level, Listed};
use crate::tensor::State;

/// The checkpoints of a training loop: saves them, and says from which the work goes on.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let place = directory.path().join("run");
/// use ckpt::State;
/// use ckpt::manager::{Manager, ManagerOptions, SaveRequest};
///
/// let manager = Manager::open(&place, ManagerOptions::default())?;
/// let mut step = 0;
/// if let Some(resumed) = manager.resume()? {
///     step = resumed.step(); // and what else is in `resumed.state`
/// }
/// while step < 300 {
///     step += 1; // train
///     if step % 100 == 0 {
///         let mut state = State::new();
///         state.insert("step", i64::try_from(step)?)?;
///         manager.save(SaveRequest::at(step).with_metric("loss", 1.0 / step as f64), &state)?;
///     }
/// }
/// assert_eq!(manager.list()?.len(), 3);
/// manager.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The run's lock is taken by the first save, and held until the manager is gone: processes that only read, as
/// those of other ranks, open the same run at the same time.
#[derive(Debug)]
pub struct Manager {
    keeper: Arc<Keeper>,
    reporter: Reporting,
}

impl Manager {
    /// Opens a run. Its directory is made by the first save.
    ///
    /// # Errors
    ///
    /// As [`Run::open`].
    pub fn open(directory: &Path, options: ManagerOptions) -> Result<Self, Error> {
        Self::on(Arc::new(LocalDisk), directory, options)
    }

    /// As [`Manager::open`], on a disk of the caller's: see [`Disk`]. What is resumed from is read from paths of
    /// the real one.
    ///
    /// # Errors
    ///
    /// As [`Run::open`].
    pub fn on(disk: Arc<dyn Disk>, directory: &Path, options: ManagerOptions) -> Result<Self, Error> {
        let run = Run::on(disk, directory)?;
        let ManagerOptions { commit, reporter } = options;
        Ok(Self { keeper: Arc::new(Keeper::new(run, commit)), reporter: Reporting(reporter) })
    }

    /// Returns the run.
    pub fn run(&self) -> &Run {
        self.keeper.run()
    }

    /// Saves a checkpoint, and returns when it is durable. `request` is the step, or a [`SaveRequest`].
    ///
    /// A step that isn't after the newest checkpoint, or doesn't go on from it, begins a new generation, which
    /// [`Committed::notices`] say: nothing is ever overwritten.
    ///
    /// # Errors
    ///
    /// Another writer has the run, or as [`commit`](super::commit()). What was there before is as it was.
    pub fn save(&self, request: impl Into<SaveRequest>, state: &State<'_>) -> Result<Committed, Error> {
        let request = request.into();
        let named = self.keeper.name(request.step)?;
        let committed = self.keeper.commit(&named, &request, state);
        match &committed {
            Ok(committed) => self.reporter.report(&Event::Saved(committed)),
            Err(error) => self.reporter.report(&Event::Failed { id: named.id, error }),
        }
        committed
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

    /// As [`Manager::resume`], in another way.
    ///
    /// # Errors
    ///
    /// As [`resume()`].
    pub fn resume_with(&self, options: &ResumeOptions) -> Result<Option<Resumed>, Error> {
        self.go_on_from(resume(self.run(), options))
    }

    /// As [`Manager::resume_with`], in each process of a job: all resume from the same checkpoint, or none does.
    ///
    /// # Errors
    ///
    /// As [`resume_together()`].
    pub fn resume_together(
        &self,
        options: &ResumeOptions,
        exchange: &dyn Exchange,
    ) -> Result<Option<Resumed>, Error> {
        self.go_on_from(resume_together(self.run(), options, exchange))
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

    /// Ends the work: what is under way is waited for, and the run is free for other writers.
    ///
    /// # Errors
    ///
    /// What was under way failed.
    pub fn finish(self) -> Result<(), Error> {
        drop(self.keeper);
        Ok(())
    }

    fn go_on_from(&self, resumed: Result<Option<Resumed>, Error>) -> Result<Option<Resumed>, Error> {
        if let Ok(Some(resumed)) = &resumed {
            self.keeper.resumed(resumed.id);
        }
        resumed
    }
}

/// Who hears of events, if anybody does.
struct Reporting(Option<Reporter>);

impl Reporting {
    fn report(&self, event: &Event<'_>) {
        if let Some(reporter) = &self.0 {
            reporter(event);
        }
    }
}

impl std::fmt::Debug for Reporting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reporting({})", self.0.is_some())
    }
}
