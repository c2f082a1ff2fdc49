use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends work that is under way on another thread: all copies of one are one.
///
/// Who reads looks at it before each window of a few MiB.
///
/// ```
/// use ckpt::io::Cancel;
///
/// let cancel = Cancel::default();
/// let same = cancel.clone();
/// same.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the work, soon. There is no way back.
    pub fn cancel(&self) {
        // Nothing else is told by it: no order with other memory is needed.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether the work is to end.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns an error once the work is to end.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_cancelled() { Err(io::Error::other(Cancelled)) } else { Ok(()) }
    }
}

/// The reason of an I/O error that a [`Cancel`] made.
#[derive(Debug)]
pub(crate) struct Cancelled;

impl Cancelled {
    /// Returns whether this is the reason of an error.
    pub(crate) fn is_reason_of(error: &io::Error) -> bool {
        error.get_ref().and_then(|reason| reason.downcast_ref::<Self>()).is_some()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was cancelled")
    }
}

impl std::error::Error for Cancelled {}
