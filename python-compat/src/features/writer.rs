//! The writer of a rank's shards.

use std::mem;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ckpt::Error;
use ckpt::features::extraction::ShardWriter as Core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::interrupt::interruptible;
use crate::records;
use crate::state::rows::rows_of;

/// Saves the rows of a rank in shards. Its Python face is `ckpt.features.ShardWriter`.
#[pyclass(frozen, module = "ckpt._native")]
#[derive(Debug)]
pub(crate) struct ShardWriter {
    slot: Mutex<Slot>,
    /// A process that was forked from this one has the writer's memory, and not its thread.
    process: u32,
}

#[derive(Debug)]
enum Slot {
    Open(Core),
    /// A call is under way.
    Busy,
    /// Ctrl-C came during a call, which ends by itself.
    Interrupted,
    Closed,
}

impl ShardWriter {
    pub(super) fn new(core: Core) -> Self {
        Self { slot: Mutex::new(Slot::Open(core)), process: process::id() }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> PyResult<Core> {
        if self.process != process::id() {
            let message = format!("the writer is process {}'s: make one of this process's own", self.process);
            return Err(PyValueError::new_err(message));
        }
        let mut slot = self.lock();
        let message = match mem::replace(&mut *slot, Slot::Busy) {
            Slot::Open(core) => return Ok(core),
            Slot::Busy => "another thread is at work with the writer: give each thread a rank of its own",
            Slot::Interrupted => {
                *slot = Slot::Interrupted;
                "the writer was interrupted: make another one, and ask what is still to do"
            }
            Slot::Closed => {
                *slot = Slot::Closed;
                "the writer is closed: make another one"
            }
        };
        Err(PyValueError::new_err(message))
    }

    /// Does something with the writer, such that Ctrl-C is heard meanwhile.
    fn with<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Core) -> Result<T, Error> + Send + 'static,
    ) -> PyResult<T> {
        let mut core = self.take()?;
        let done = interruptible(py, move || {
            let done = work(&mut core);
            (core, done)
        });
        let (core, done) = done.inspect_err(|_| *self.lock() = Slot::Interrupted)?;
        *self.lock() = Slot::Open(core);
        done.map_err(|error| errors::raise(py, &error))
    }
}

#[pymethods]
impl ShardWriter {
    /// Adds rows, which are copied.
    fn push(&self, py: Python<'_>, ids: Vec<String>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        let rows = rows_of(rows)?;
        self.with(py, move |core| core.push(&ids, &rows))
    }

    /// Begins a batch that comes in parts.
    fn begin_batch(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::begin_batch)
    }

    /// Ends a batch that came in parts.
    fn end_batch(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::end_batch)
    }

    /// Looks whether the rows at hand are due.
    fn tick(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::tick)
    }

    /// Saves the rows at hand, and waits until all are durable.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Core::flush)
    }

    /// Saves what is left, and notes that this rank is done. Returns what was saved.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.take()?;
        *self.lock() = Slot::Closed;
        let finished = interruptible(py, move || core.finish())?;
        records::dict(py, &finished.map_err(|error| errors::raise(py, &error))?)
    }

    /// Whether it takes rows.
    fn is_open(&self) -> bool {
        matches!(*self.lock(), Slot::Open(_) | Slot::Busy)
    }

    /// Ends the work, without the rows that are in no shard yet. Does nothing the second time.
    fn close(&self, py: Python<'_>) {
        let slot = mem::replace(&mut *self.lock(), Slot::Closed);
        if self.process == process::id() {
            py.detach(|| drop(slot));
        } else {
            mem::forget(slot);
        }
    }
}

impl Drop for ShardWriter {
    fn drop(&mut self) {
        let slot = mem::replace(&mut *self.lock(), Slot::Closed);
        if self.process != process::id() {
            // It would wait for a thread that isn't there.
            mem::forget(slot);
            return;
        }
        let slot = Mutex::new(slot);
        Python::try_attach(|py| py.detach(|| drop(slot))).unwrap_or_default();
    }
}
