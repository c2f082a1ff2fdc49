//! A save that is on its way.

use ckpt::manager::background::{Outcome, Ticket as Core};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::described::committed;
use crate::errors;
use crate::interrupt::interruptible;

/// A save in the background.
#[pyclass(frozen, module = "ckpt._native")]
#[derive(Debug)]
pub(crate) struct Ticket(Core);

impl Ticket {
    pub(super) fn new(ticket: Core) -> Self {
        Self(ticket)
    }
}

#[pymethods]
impl Ticket {
    /// Whether it is over, well or not.
    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Waits until it is over. Returns what became of it in a word, and what was saved.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<(&'static str, Option<Bound<'py, PyDict>>)> {
        let ticket = self.0.clone();
        let outcome = interruptible(py, move || ticket.wait())?;
        let outcome = outcome.map_err(|error| errors::raise(py, &error))?;
        let word = match &outcome {
            Outcome::Saved(_) => "saved",
            Outcome::Skipped => "skipped",
            Outcome::Replaced => "replaced",
        };
        Ok((word, outcome.committed().map(|saved| committed(py, saved)).transpose()?))
    }
}
