//! Ctrl-C during long work.

use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use ckpt::io::Cancel;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How long work runs until the interpreter is asked for signals.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// From how many bytes on work is long. To start a thread for less would take a good part of the time that it saves.
pub(crate) const LONG_BYTES: u64 = 16 << 20;

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
            Err(RecvTimeoutError::Disconnected) => return Err(no_result()),
        }
    }
}

/// Does work of so many bytes, so that Ctrl-C ends it: through `cancel`, which the work must look at. What it was at is
/// brought to an end before this returns, so that it may borrow what the caller has.
pub(crate) fn cancellable<T: Send>(
    py: Python<'_>,
    bytes: u64,
    cancel: &Cancel,
    work: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    if bytes < LONG_BYTES {
        return Ok(py.detach(work));
    }
    thread::scope(|scope| {
        let (told, results) = channel();
        let worker = thread::Builder::new().name("ckpt-worker".to_owned());
        // The receiver is there until the work is over.
        worker.spawn_scoped(scope, move || drop(told.send(work())))?;
        let results = Mutex::new(results);
        let mut interrupted = None;
        loop {
            let received = py.detach(|| match results.lock() {
                Ok(results) => results.recv_timeout(SIGNALS_EVERY),
                Err(_) => Err(RecvTimeoutError::Disconnected),
            });
            match (received, interrupted) {
                (Ok(result), None) => return Ok(result),
                (Ok(_), Some(error)) => return Err(error),
                (Err(RecvTimeoutError::Timeout), before) => {
                    // A further Ctrl-C ends it no sooner.
                    interrupted = py.check_signals().err().or(before);
                    if interrupted.is_some() {
                        cancel.cancel();
                    }
                }
                (Err(RecvTimeoutError::Disconnected), _) => return Err(no_result()),
            }
        }
    })
}

fn no_result() -> PyErr {
    PyRuntimeError::new_err("the work ended without a result: please report this")
}
