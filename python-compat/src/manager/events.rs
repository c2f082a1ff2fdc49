//! What happens to saves, told to Python.

use std::sync::Arc;

use ckpt::manager::{Event, Reporter};
use pyo3::prelude::*;
use pyo3::types::PyDict;

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
    let dict = subject(py, event)?;
    dict.set_item("kind", kind(event))?;
    dict.set_item("message", event.to_string())?;
    match event {
        Event::Saved(saved) => dict.set_item("committed", committed(py, saved)?)?,
        Event::Retrying { error, .. } | Event::Failed { error, .. } => {
            dict.set_item("error", errors::raise(py, error))?;
        }
        Event::Pruned { removed, error } => {
            dict.set_item("removed", removed.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            if let Some(error) = error {
                dict.set_item("error", errors::raise(py, error))?;
            }
        }
        _ => {}
    }
    Ok(dict)
}

/// Begins with what an event is about: a checkpoint, a step, or neither.
fn subject<'py>(py: Python<'py>, event: &Event<'_>) -> PyResult<Bound<'py, PyDict>> {
    match event {
        Event::Saved(saved) => named(py, saved.id),
        Event::Retrying { id, .. } | Event::Failed { id, .. } => named(py, *id),
        Event::Skipped { step } | Event::Replaced { step } => {
            let dict = PyDict::new(py);
            dict.set_item("step", step)?;
            Ok(dict)
        }
        _ => Ok(PyDict::new(py)),
    }
}

fn kind(event: &Event<'_>) -> &'static str {
    match event {
        Event::Saved(_) => "saved",
        Event::Retrying { .. } => "retrying",
        Event::Failed { .. } => "failed",
        Event::Skipped { .. } => "skipped",
        Event::Replaced { .. } => "replaced",
        Event::Pruned { .. } => "pruned",
        _ => "other",
    }
}
