//! That one process at a time works on a pipeline.

use std::io;

use jiff::Timestamp;

use super::place::Place;
use crate::Error;
use crate::io::commit::{DiskLock, Locked, take_lock_as};

/// The lease on a pipeline. The system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lease {
    lock: Box<dyn DiskLock>,
}

impl Lease {
    /// Takes the lease; `holder` is what others are told, beside process, machine and time.
    ///
    /// # Errors
    ///
    /// Somebody else holds it: the message says who. Or its file can't be made.
    pub(super) fn take(place: &Place, holder: Option<&str>) -> Result<Self, Error> {
        let path = place.lock();
        match take_lock_as(place.disk(), &path, Timestamp::now(), holder) {
            Ok(Locked::Ours(lock)) => Ok(Self { lock }),
            Ok(Locked::Others(holder)) => {
                let message =
                    format!("another process is at work on this pipeline: {holder}; wait for its end");
                Err(Error::usage(message).at(place.state()))
            }
            Err(error) => Err(Error::io(path, "make the lock of the pipeline", error)),
        }
    }

    /// Returns whether nobody else can hold it, on any machine.
    pub(super) fn is_sure(&self) -> bool {
        self.lock.is_sure()
    }

    /// Has processes that are started from now on hold it as well: see [`DiskLock::hand_down`].
    pub(super) fn hand_down(&self) -> io::Result<()> {
        self.lock.hand_down()
    }
}
