//! Ctrl-C during long work.

use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How long work runs until the interpreter is asked for signals.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// Does work on another thread, so that Ctrl-C is heard meanwhile. The work is left alone then, and ends by itself.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (told, results) = channel();
    // There is nobody to tell when Ctrl-C came.
    let worker = thread::Builder::new().name("ckpt-worker".to_owned());
    worker.spawn(move || drop(told.send(work())))?;
    let results = Mutex::new(results);
    loop {
        let received = py.detach(|| match results.lock() {
            Ok(results) => results.recv_timeout(SIGNALS_EVERY),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        });
        match received {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the work ended without a result: please report this"));
            }
        }
    }
}
