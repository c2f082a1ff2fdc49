//! What the processes of a job say to one another, by a Python object.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use ckpt::Error;
use ckpt::manager::Exchange;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// An object with `rank`, `broadcast(bytes) -> bytes` and `all_agree(bool) -> bool`: see `ckpt/_exchange.py`.
pub(super) struct Group {
    object: Py<PyAny>,
    rank: usize,
    /// What one of the calls raised.
    raised: Mutex<Option<PyErr>>,
}

impl Group {
    pub(super) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let rank = object.getattr("rank")?.extract()?;
        Ok(Self { object: object.clone().unbind(), rank, raised: Mutex::default() })
    }

    /// Returns what a call raised, in place of the error that was made of it.
    pub(super) fn into_raised(self) -> Option<PyErr> {
        self.raised.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the object, and keeps what it raises.
    fn ask<T>(&self, ask: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, Error> {
        Python::attach(ask).map_err(|error| {
            let message = format!("the processes of the job can't reach one another: {error}");
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Error::usage(message)
        })
    }
}

impl Exchange for Group {
    fn rank(&self) -> usize {
        self.rank
    }

    fn broadcast(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.ask(|py| {
            self.object.call_method1(py, "broadcast", (PyBytes::new(py, message),))?.extract::<Vec<u8>>(py)
        })
    }

    fn all_agree(&self, yes: bool) -> Result<bool, Error> {
        self.ask(|py| self.object.call_method1(py, "all_agree", (yes,))?.extract(py))
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group(rank {})", self.rank)
    }
}
