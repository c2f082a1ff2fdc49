//! The class `Manager`.

use std::mem;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ckpt::io::Cancel;
use ckpt::manager::retention::{Plan, Policy};
use ckpt::manager::{Manager as Core, SaveRequest};
use ckpt::record::{CheckpointId, Decision};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::exchange::Group;
use super::options::{ManagerArguments, PolicyArguments, RequestArguments, ResumeArguments, deadline};
use super::{Ticket, described};
use crate::errors;
use crate::interrupt::interruptible;
use crate::options::level;
use crate::records;
use crate::state::take::{Accelerators, take, take_with};

/// How often `finish` looks whether another thread's call is over.
const FINISH_EVERY: Duration = Duration::from_millis(5);

/// The checkpoints of a run. Its Python face is `ckpt.manager.Manager`.
#[pyclass(frozen, module = "ckpt._native")]
#[derive(Debug)]
pub(crate) struct Manager {
    /// None once it has finished.
    core: Mutex<Option<Arc<Core>>>,
    policy: Option<Policy>,
    /// A process that was forked from this one has the manager's memory, and not its threads.
    process: u32,
}

#[pymethods]
impl Manager {
    #[new]
    fn new(py: Python<'_>, directory: PathBuf, arguments: ManagerArguments) -> PyResult<Self> {
        let options = arguments.options(py)?;
        let policy = options.retention.clone();
        let core =
            py.detach(|| Core::open(&directory, options)).map_err(|error| errors::raise(py, &error))?;
        Ok(Self { core: Mutex::new(Some(Arc::new(core))), policy, process: process::id() })
    }

    /// Saves a checkpoint. Returns what was committed.
    fn save<'py>(
        &self,
        py: Python<'py>,
        state: &Bound<'py, PyAny>,
        request: RequestArguments,
    ) -> PyResult<Bound<'py, PyDict>> {
        let core = self.core()?;
        let state = take(state).inspect_err(|_| core.skip(request.step))?;
        let saved = py.detach(|| core.save(SaveRequest::from(request), &state));
        described::committed(py, &saved.map_err(|error| errors::raise(py, &error))?)
    }

    /// Saves a checkpoint in the background. `played` has the host take the part of a device.
    fn save_async(
        &self,
        py: Python<'_>,
        state: &Bound<'_, PyAny>,
        request: RequestArguments,
        played: bool,
    ) -> PyResult<Ticket> {
        let core = self.core()?;
        let accelerators = if played { Accelerators::Played } else { Accelerators::Stay };
        let state = take_with(state, accelerators).inspect_err(|_| core.skip(request.step))?;
        let submitted = py.detach(|| {
            let submitted = core.save_async(SaveRequest::from(request), &state);
            // Many tensors take a while to let go of, and the copy is all that is needed.
            drop(state);
            submitted
        });
        submitted.map(Ticket::new).map_err(|error| errors::raise(py, &error))
    }

    /// Allocates the memory that such a state is copied to.
    fn prepare(&self, py: Python<'_>, state: &Bound<'_, PyAny>, played: bool) -> PyResult<()> {
        let core = self.core()?;
        let accelerators = if played { Accelerators::Played } else { Accelerators::Stay };
        let state = take_with(state, accelerators)?;
        py.detach(|| core.prepare(&state)).map_err(|error| errors::raise(py, &error))
    }

    /// Says whether a save is due.
    fn should_save<'py>(&self, py: Python<'py>, step: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
        let core = self.core()?;
        let due = py.detach(|| core.should_save(step));
        due.map(|due| described::due(py, due)).transpose()
    }

    /// Says that what was due won't be saved.
    fn skip(&self, py: Python<'_>, step: u64) -> PyResult<()> {
        let core = self.core()?;
        py.detach(|| core.skip(step));
        Ok(())
    }

    /// Says what has asked for the end.
    fn ending(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let core = self.core()?;
        Ok(py.detach(|| core.ending()).map(described::why))
    }

    /// Says when the job ends.
    fn end_by(&self, py: Python<'_>, at: Option<f64>, after: Option<f64>) -> PyResult<()> {
        let core = self.core()?;
        if let Some(deadline) = deadline(py, at, after)? {
            py.detach(|| core.end_by(deadline));
        }
        Ok(())
    }

    /// Returns the seconds until the deadline.
    fn time_left(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let core = self.core()?;
        Ok(py.detach(|| core.time_left()).map(|left| left.as_secs_f64()))
    }

    /// Loads the newest checkpoint that is proven good.
    fn resume<'py>(
        &self,
        py: Python<'py>,
        arguments: ResumeArguments,
        group: Option<&Bound<'py, PyAny>>,
        device: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let (core, mut options) = (self.core()?, arguments.options(py)?);
        let resumed = match group {
            None => {
                let cancel = Cancel::default();
                options.load.cancel = Some(cancel.clone());
                let resumed = interruptible(py, move || core.resume_with(&options));
                resumed.inspect_err(|_| cancel.cancel())?
            }
            Some(group) => {
                // On this thread: what a group is bound to, as the current GPU, may be the thread's.
                let group = Group::new(group)?;
                let resumed = py.detach(|| core.resume_together(&options, &group));
                if let (Err(_), Some(raised)) = (&resumed, group.into_raised()) {
                    return Err(raised);
                }
                resumed
            }
        };
        let resumed = resumed.map_err(|error| errors::raise(py, &error))?;
        resumed.map(|resumed| described::resumed(py, &resumed, device)).transpose()
    }

    /// Returns the newest checkpoint that passes a level.
    fn latest<'py>(&self, py: Python<'py>, word: &str) -> PyResult<Option<Bound<'py, PyDict>>> {
        let (core, level) = (self.core()?, level(word)?);
        let latest = interruptible(py, move || core.latest(level))?;
        let latest = latest.map_err(|error| errors::raise(py, &error))?;
        latest.map(|latest| described::latest(py, &latest)).transpose()
    }

    /// Lists the checkpoints.
    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core()?;
        let listed = py.detach(|| core.list()).map_err(|error| errors::raise(py, &error))?;
        records::dict(py, &listed)
    }

    /// Decides what may go, by the given policy or the manager's own.
    fn plan<'py>(
        &self,
        py: Python<'py>,
        policy: Option<PolicyArguments>,
    ) -> PyResult<(Bound<'py, PyAny>, Vec<String>)> {
        let core = self.core()?;
        let policy = policy.map(|policy| policy.policy(py)).transpose()?.or_else(|| self.policy.clone());
        let policy = policy.ok_or_else(|| {
            PyValueError::new_err("the manager has no policy: say what is to be kept, as keep_last=3")
        })?;
        let plan = interruptible(py, move || core.plan(&policy))?;
        let Plan { decisions, unmeasured, .. } = plan.map_err(|error| errors::raise(py, &error))?;
        Ok((records::dict(py, &decisions)?, unmeasured))
    }

    /// Removes what decisions let go. Returns the names of what was removed.
    fn prune(&self, py: Python<'_>, decisions: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let core = self.core()?;
        let mut plan = Plan::default();
        plan.decisions = pythonize::depythonize::<Vec<Decision>>(decisions)?;
        let removed = py.detach(|| core.prune(&plan)).map_err(|error| errors::raise(py, &error))?;
        Ok(removed.iter().map(ToString::to_string).collect())
    }

    /// Pins a checkpoint.
    fn pin(&self, py: Python<'_>, id: &str, reason: &str) -> PyResult<()> {
        let (core, id) = (self.core()?, name(id)?);
        py.detach(|| core.run().pin(id, reason)).map_err(|error| errors::raise(py, &error))
    }

    /// Takes a pin away. Returns whether there was one.
    fn unpin(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let (core, id) = (self.core()?, name(id)?);
        py.detach(|| core.run().unpin(id)).map_err(|error| errors::raise(py, &error))
    }

    /// Waits for what is under way, and ends. Does nothing the second time.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process()?;
        let Some(core) = self.lock().take() else { return Ok(()) };
        let finished = interruptible(py, move || alone(core).finish())?;
        finished.map_err(|error| errors::raise(py, &error))
    }
}

impl Manager {
    fn core(&self) -> PyResult<Arc<Core>> {
        self.check_process()?;
        let finished = || PyValueError::new_err("the manager has finished: open the run again");
        self.lock().clone().ok_or_else(finished)
    }

    fn check_process(&self) -> PyResult<()> {
        if self.process == process::id() {
            return Ok(());
        }
        let message = format!("the manager is process {}'s: open the run anew after a fork", self.process);
        Err(PyValueError::new_err(message))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Core>>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let core = self.lock().take();
        if self.process != process::id() {
            // It would wait for a thread that isn't there.
            mem::forget(core);
            return;
        }
        // Its thread may be telling Python of something.
        let core = Mutex::new(core);
        Python::try_attach(|py| py.detach(|| drop(core))).unwrap_or_default();
    }
}

/// Waits until no other thread is at work with a manager.
fn alone(mut core: Arc<Core>) -> Core {
    loop {
        match Arc::try_unwrap(core) {
            Ok(core) => return core,
            Err(shared) => core = shared,
        }
        thread::sleep(FINISH_EVERY);
    }
}

fn name(text: &str) -> PyResult<CheckpointId> {
    text.parse()
        .map_err(|error| PyValueError::new_err(format!("{error}; a checkpoint's name is as step-0000001200")))
}
