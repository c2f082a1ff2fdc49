//! Where there are no such signals.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Signal;

/// Never made.
#[derive(Debug)]
pub(super) struct Registration;

impl Registration {
    /// Says that there are none.
    pub(super) fn of(_: Signal, _: Arc<AtomicBool>) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no such signals"))
    }
}
