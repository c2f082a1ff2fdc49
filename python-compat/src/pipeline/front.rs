//! The class `Pipeline`.

use std::mem;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckpt::Error;
use ckpt::pipeline::{Approval, Pipeline as Core};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::options::PipelineArguments;
use super::run::StageRun;
use crate::errors;
use crate::interrupt::interruptible;
use crate::records;

/// A pipeline, whose lease is held. Its Python face is `ckpt.pipeline.Pipeline`.
#[pyclass(frozen, module = "ckpt._native")]
#[derive(Debug)]
pub(crate) struct Pipeline(Arc<Shared>);

/// What a pipeline shares with the stages that are at work.
#[derive(Debug)]
pub(super) struct Shared {
    /// None once it is closed.
    core: Mutex<Option<Core>>,
    /// A process that was forked from this one has the pipeline's memory, and not its lease.
    process: u32,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Core>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the pipeline, such that Ctrl-C is heard meanwhile. The work goes on then, and ends by itself.
    pub(super) fn with<T: Send + 'static>(
        self: &Arc<Self>,
        py: Python<'_>,
        work: impl FnOnce(&mut Core) -> Result<T, Error> + Send + 'static,
    ) -> PyResult<T> {
        if self.process != process::id() {
            let message = format!("the pipeline is process {}'s: open it anew after its end", self.process);
            return Err(PyValueError::new_err(message));
        }
        let shared = Arc::clone(self);
        let done = interruptible(py, move || shared.lock().as_mut().map(work))?;
        let done = done.ok_or_else(|| PyValueError::new_err("the pipeline is closed: open it again"))?;
        done.map_err(|error| errors::raise(py, &error))
    }

    /// Frees the lease, once what is under way is over; nothing to do the second time.
    fn close(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.process != process::id() {
            return Ok(());
        }
        let shared = Arc::clone(self);
        interruptible(py, move || drop(shared.lock().take()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.process != process::id() {
            // The lease is its own process's to free.
            mem::forget(self.lock().take());
        }
    }
}

#[pymethods]
impl Pipeline {
    #[new]
    fn new(py: Python<'_>, state_file: PathBuf, arguments: PipelineArguments<'_>) -> PyResult<Self> {
        let (stages, options) = arguments.options(py)?;
        let opened = interruptible(py, move || Core::open(&state_file, stages, options))?;
        let core = Mutex::new(Some(opened.map_err(|error| errors::raise(py, &error))?));
        Ok(Self(Arc::new(Shared { core, process: process::id() })))
    }

    /// Returns what was found when it was opened, each as a dict with a `message`.
    fn notices<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let notices = self.0.with(py, |core| Ok(core.notices().to_vec()))?;
        let described = notices.iter().map(|notice| {
            let dict = records::dict(py, notice)?;
            dict.set_item("message", notice.to_string())?;
            Ok(dict)
        });
        described.collect()
    }

    /// Returns what is known of it.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // As the file has it, with the digest of the rest.
        let text = self.0.with(py, |core| Ok(core.state().encode()))?;
        let json = serde_json::from_str::<serde_json::Value>(&text);
        records::dict(py, &json.map_err(|error| PyRuntimeError::new_err(error.to_string()))?)
    }

    /// Returns the name of the stage to be done next.
    fn next(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0.with(py, |core| Ok(core.next().map(ToOwned::to_owned)))
    }

    /// Returns the name of the stage that waits for its review.
    fn awaiting_review(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0.with(py, |core| Ok(core.awaiting_review().map(ToOwned::to_owned)))
    }

    /// Begins a stage, if it is to be done.
    fn begin(&self, py: Python<'_>, name: String) -> PyResult<Option<StageRun>> {
        let run = self.0.with(py, move |core| core.begin(&name))?;
        Ok(run.map(|run| StageRun::new(run, Arc::clone(&self.0))))
    }

    /// Returns whether a stage is done.
    fn is_complete(&self, py: Python<'_>, name: String) -> PyResult<bool> {
        self.0.with(py, move |core| Ok(core.is_complete(&name)))
    }

    /// Notes that a stage is done.
    fn mark_complete(&self, py: Python<'_>, name: String) -> PyResult<()> {
        self.0.with(py, move |core| core.mark_complete(&name))
    }

    /// Approves a stage. Returns the edits of its outputs.
    #[pyo3(signature = (name, by=None, note=None))]
    fn approve<'py>(
        &self,
        py: Python<'py>,
        name: String,
        by: Option<String>,
        note: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut approval = Approval::default();
        (approval.by, approval.note) = (by, note);
        records::dict(py, &self.0.with(py, move |core| core.approve(&name, approval))?)
    }

    /// Has a stage and all later ones done anew.
    fn reset(&self, py: Python<'_>, name: String) -> PyResult<()> {
        self.0.with(py, move |core| core.reset(&name))
    }

    /// Decides which outputs may go.
    fn plan_cleanup<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        records::dict(py, &self.0.with(py, |core| Ok(core.plan_cleanup()))?)
    }

    /// Removes what a plan lets go. Returns what was removed.
    fn clean_up(&self, py: Python<'_>, plan: &Bound<'_, PyAny>) -> PyResult<Vec<PathBuf>> {
        let plan = pythonize::depythonize(plan)?;
        self.0.with(py, move |core| core.clean_up(&plan))
    }

    /// Frees the lease.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.0.close(py)
    }
}

/// Reads the state of a pipeline; none where there is none.
#[pyfunction]
pub(crate) fn read_pipeline(py: Python<'_>, state_file: PathBuf) -> PyResult<Option<Bound<'_, PyAny>>> {
    let state = py.detach(|| Core::read(&state_file)).map_err(|error| errors::raise(py, &error))?;
    state.map(|state| records::dict(py, &state)).transpose()
}
