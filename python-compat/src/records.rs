//! Records, as Python has them: the dicts that their JSON is.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde::Serialize;

/// Turns a record into a dict.
pub(crate) fn dict<'py, T: Serialize + ?Sized>(py: Python<'py>, record: &T) -> PyResult<Bound<'py, PyAny>> {
    // By way of JSON's values: paths and NaN become what they are in JSON.
    let json = serde_json::to_value(record).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    Ok(pythonize::pythonize(py, &json)?)
}
