//! Calls that fail, or lie.

use std::io;

/// What goes wrong in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The number of the call, from 0.
    pub(super) call: usize,
    /// The number of the error.
    pub(super) error: i32,
    /// How much of the call is done nevertheless.
    pub(super) done: Done,
}

/// How much of a call is done although it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Nothing. A file that can't be closed is closed nevertheless, as the system does it.
    Nothing,
    /// Half of the bytes, of a call that writes; of others nothing.
    Half,
    /// All: the answer was lost, as that of a repeated request to a server may be.
    All,
    /// All, and the call succeeds; but of the bytes that it writes one bit is another.
    Flipped,
}

impl Fault {
    /// Returns the error.
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(self.error)
    }
}

/// `EIO`.
pub(super) const EIO: i32 = 5;
/// `EINTR`.
pub(super) const EINTR: i32 = 4;
/// `ENOSPC`.
pub(super) const ENOSPC: i32 = 28;
/// `EDQUOT`.
pub(super) const EDQUOT: i32 = 122;
