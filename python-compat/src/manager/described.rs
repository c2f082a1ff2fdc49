//! What the manager returns, as the dicts that the records of `ckpt.records` are made of.

use ckpt::manager::triggers::{Due, Why};
use ckpt::manager::{Committed, Latest, Resumed};
use ckpt::record::{CheckpointId, Manifest, Skipped};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::records;
use crate::save::described as saved;
use crate::state::give::give;

/// Describes a checkpoint that was saved, for `ckpt.records.Committed`.
pub(super) fn committed<'py>(py: Python<'py>, committed: &Committed) -> PyResult<Bound<'py, PyDict>> {
    let dict = named(py, committed.id)?;
    dict.set_item("path", &committed.path)?;
    dict.set_item("state", saved(py, &committed.state)?)?;
    dict.set_item("notices", committed.notices.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    dict.set_item("retries", committed.retries)?;
    dict.set_item("seconds", committed.elapsed.as_secs_f64())?;
    Ok(dict)
}

/// Describes what the work goes on from, for `ckpt.records.Resumed`.
pub(super) fn resumed<'py>(
    py: Python<'py>,
    resumed: &Resumed,
    device: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = found(py, resumed.id, &resumed.path, &resumed.manifest, &resumed.skipped)?;
    dict.set_item("state", give(py, &resumed.state, device)?)?;
    Ok(dict)
}

/// Describes the newest that passes, for `ckpt.records.Latest`.
pub(super) fn latest<'py>(py: Python<'py>, latest: &Latest) -> PyResult<Bound<'py, PyDict>> {
    found(py, latest.id, &latest.path, &latest.manifest, &latest.skipped)
}

fn found<'py>(
    py: Python<'py>,
    id: CheckpointId,
    path: &std::path::Path,
    manifest: &Manifest,
    skipped: &[Skipped],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = named(py, id)?;
    dict.set_item("path", path)?;
    dict.set_item("manifest", records::dict(py, manifest)?)?;
    dict.set_item("skipped", records::dict(py, skipped)?)?;
    Ok(dict)
}

/// Begins with a checkpoint's name.
pub(super) fn named(py: Python<'_>, id: CheckpointId) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("id", id.to_string())?;
    dict.set_item("step", id.step)?;
    Ok(dict)
}

/// Describes why a save is due, for `ckpt.records.Due`.
pub(super) fn due(py: Python<'_>, due: Due) -> PyResult<Bound<'_, PyDict>> {
    let left = if let Due::Final { left, .. } = due { left } else { None };
    let dict = PyDict::new(py);
    dict.set_item("why", why(due.why()))?;
    dict.set_item("is_final", due.is_final())?;
    dict.set_item("seconds_left", left.map(|left| left.as_secs_f64()))?;
    Ok(dict)
}

/// Says why a save is due, or the job ends.
pub(super) fn why(why: Why) -> String {
    why.to_string()
}
