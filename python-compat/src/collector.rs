//! Python's garbage collector, while many objects are made that are no garbage.

use pyo3::prelude::*;

/// Keeps the collector from running until it is dropped, if it runs at all.
///
/// To hand over 10,000 tensors makes 20,000 objects. The collector would look through them again and again, and now and
/// then through all that the process has: measured, 70 ms became 150 to 260.
pub(crate) struct Pause<'py> {
    collector: Option<Bound<'py, PyModule>>,
}

impl<'py> Pause<'py> {
    pub(crate) fn new(py: Python<'py>) -> PyResult<Self> {
        let collector = py.import("gc")?;
        if !collector.call_method0("isenabled")?.is_truthy()? {
            return Ok(Self { collector: None });
        }
        collector.call_method0("disable")?;
        Ok(Self { collector: Some(collector) })
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if let Some(collector) = &self.collector {
            // It takes no arguments and raises nothing.
            collector.call_method0("enable").map(drop).unwrap_or_default();
        }
    }
}
