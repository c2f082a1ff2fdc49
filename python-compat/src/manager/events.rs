//! What happens to saves, told to Python.

use ckpt::manager::{Event, Reporter};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

use super::described::{committed, named};
use crate::errors;

/// Makes a Python callable hear of events, on whatever thread they happen. What it raises is shown as Python shows what
/// nobody can catch.
pub(super) fn reporter(callable: Py<PyAny>) -> Reporter {
    Arc::new(move |event: &Event<'_>| {
        // Once the interpreter is on its way out, there is nobody to tell.
        Python::try_attach(|py| {
            let told = described(py, event).and_then(|event| callable.call1(py, (event,)));
            if let Err(error) = told {
                error.write_unraisable(py, Some(callable.bind(py)));
            }
        })
        .unwrap_or_default();
    })
}

/// Describes an event, for `ckpt.records.Event`.
fn described<'py>(py: Python<'py>, event: &Event<'_>) -> PyResult<Bound<'py, PyDict>> {
    let dict = match event {
        Event::Saved(saved) => of(py, "saved", named(py, saved.id)?)?,
        Event::Retrying { id, .. } => of(py, "retrying", named(py, *id)?)?,
        Event::Failed { id, .. } => of(py, "failed", named(py, *id)?)?,
        Event::Skipped { step } => of_step(py, "skipped", *step)?,
        Event::Replaced { step } => of_step(py, "replaced", *step)?,
        Event::Pruned { .. } => of(py, "pruned", PyDict::new(py))?,
        _ => of(py, "other", PyDict::new(py))?,
    };
    dict.set_item("message", event.to_string())?;
    match event {
        Event::Saved(saved) => dict.set_item("committed", committed(py, saved)?)?,
        Event::Retrying { error, .. } | Event::Failed { error, .. } => {
            dict.set_item("error", errors::raise(py, error))?;
        }
        Event::Pruned { removed, error } => {
            dict.set_item("removed", removed.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            dict.set_item("error", error.map(|error| errors::raise(py, error)))?;
        }
        _ => {}
    }
    Ok(dict)
}

fn of<'py>(_py: Python<'py>, kind: &str, dict: Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    dict.set_item("kind", kind)?;
    Ok(dict)
}

fn of_step<'py>(py: Python<'py>, kind: &str, step: u64) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("step", step)?;
    of(py, kind, dict)
}
