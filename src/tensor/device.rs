//! Memory that isn't the host's.

use std::fmt;

use super::Source;
use crate::Error;

/// Who copies bytes from an accelerator to the host.
///
/// A background save copies all that lies on one device in one call, into memory that the device itself
/// provided, and the training loop goes on when it returns.
pub trait Device: Send + Sync + fmt::Debug {
    /// Returns the name: what lies on devices of the same name is copied in one call.
    fn name(&self) -> String;

    /// Provides memory of the host that copies from the device are fast into: pinned, and filled with zeros.
    ///
    /// # Errors
    ///
    /// There isn't enough of it.
    fn allocate(&self, len: usize) -> Result<Box<dyn HostMemory>, Error>;

    /// Copies sources of this device to where their bytes belong, as they are after all work that was given
    /// to the device before this call. Returns when all bytes are there.
    ///
    /// # Errors
    ///
    /// A source isn't one of this device, a target has another length than its source, or the device failed.
    fn copy(&self, copies: &mut [DeviceCopy<'_>]) -> Result<(), Error>;
}

/// One source of a [`Device`], and where its bytes belong.
pub struct DeviceCopy<'c> {
    /// What lies on the device.
    pub source: &'c dyn Source,
    /// As many bytes as the source has.
    pub target: &'c mut [u8],
}

impl fmt::Debug for DeviceCopy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceCopy({} bytes)", self.target.len())
    }
}

/// Memory of the host that somebody else allocated.
pub trait HostMemory: Send + Sync + fmt::Debug {
    /// Returns the bytes.
    fn bytes(&self) -> &[u8];

    /// Returns the bytes, to be written to.
    fn bytes_mut(&mut self) -> &mut [u8];
}
