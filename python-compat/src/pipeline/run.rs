//! A stage that is at work.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckpt::Error;
use ckpt::pipeline::StageRun as Core;
use ckpt::record::Lifetime;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::front::Shared;
use crate::errors;
use crate::interrupt::interruptible;
use crate::options::wrong;

/// One attempt at a stage. Its Python face is `ckpt.pipeline.StageRun`.
#[pyclass(frozen, module = "ckpt._native")]
#[derive(Debug)]
pub(crate) struct StageRun {
    /// None once it is over, or where Ctrl-C came during a call.
    core: Mutex<Option<Core>>,
    pipeline: Arc<Shared>,
}

impl StageRun {
    pub(super) fn new(core: Core, pipeline: Arc<Shared>) -> Self {
        Self { core: Mutex::new(Some(core)), pipeline }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Core>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> PyResult<Core> {
        self.lock().take().ok_or_else(|| PyValueError::new_err("the stage is over"))
    }

    /// Does something that may read files, such that Ctrl-C is heard meanwhile.
    fn with<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Core) -> Result<T, Error> + Send + 'static,
    ) -> PyResult<T> {
        let mut core = self.take()?;
        let (core, done) = interruptible(py, move || {
            let done = work(&mut core);
            (core, done)
        })?;
        *self.lock() = Some(core);
        done.map_err(|error| errors::raise(py, &error))
    }
}

#[pymethods]
impl StageRun {
    /// Notes what the stage reads. Returns where it is.
    fn input(&self, py: Python<'_>, path: PathBuf) -> PyResult<PathBuf> {
        self.with(py, move |core| core.input(path))
    }

    /// Notes what the stage leaves. Returns where it is to be.
    fn output(&self, py: Python<'_>, path: PathBuf, lifetime: &str) -> PyResult<PathBuf> {
        let known = Lifetime::ALL.into_iter().find(|known| known.as_str() == lifetime);
        let lifetime =
            known.ok_or_else(|| wrong("lifetime", lifetime, &Lifetime::ALL.map(Lifetime::as_str)))?;
        self.with(py, move |core| core.output_with(path, lifetime))
    }

    /// Notes something beside files.
    fn value(&self, py: Python<'_>, name: String, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value: serde_json::Value = pythonize::depythonize(value)?;
        self.with(py, move |core| core.value(name, &value))
    }

    /// Notes what the stage costs.
    fn cost(&self, py: Python<'_>, name: String, amount: f64) -> PyResult<()> {
        self.with(py, move |core| {
            core.cost(name, amount);
            Ok(())
        })
    }

    /// Finishes the stage.
    fn complete(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.take()?;
        self.pipeline.with(py, move |pipeline| pipeline.complete(core).map(drop))
    }

    /// Notes that the stage has failed.
    fn fail(&self, py: Python<'_>, reason: String) -> PyResult<()> {
        let core = self.take()?;
        self.pipeline.with(py, move |pipeline| pipeline.fail(core, &reason))
    }

    /// Whether it is still at work.
    fn is_open(&self) -> bool {
        self.lock().is_some()
    }
}
