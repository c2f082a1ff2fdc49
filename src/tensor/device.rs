//! Memory that isn't the host's.

use std::any::Any;
use std::fmt;

use super::Source;
use super::source::copy_part;
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

    /// Returns the memory as what it is, so that who allocated it knows it again: see [`Source::as_any`].
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }
}

/// Who provides memory for what is loaded, in place of the memory that this crate takes from the system.
///
/// So a framework's tensors are filled where they are, also where they are only made while a checkpoint is loaded:
/// see [`LoadOptions::with_memory`](crate::LoadOptions::with_memory).
pub trait Allocator: Send + Sync + fmt::Debug {
    /// Provides memory of the host, as long as was asked for. What is in it doesn't matter.
    ///
    /// # Errors
    ///
    /// There isn't enough of it.
    fn allocate(&self, len: usize) -> Result<Box<dyn HostMemory>, Error>;

    /// Provides all memory that one load needs, in that order: for who has to enter something first, such as an
    /// interpreter, and can do it once for many.
    ///
    /// # Errors
    ///
    /// There isn't enough of it.
    fn allocate_all(&self, lengths: &[usize]) -> Result<Vec<Box<dyn HostMemory>>, Error> {
        lengths.iter().map(|len| self.allocate(*len)).collect()
    }
}

/// Memory of the host that was filled, and that nobody changes any more.
#[derive(Debug)]
pub(crate) struct Filled(Box<dyn HostMemory>);

impl Filled {
    pub(crate) fn new(memory: Box<dyn HostMemory>) -> Self {
        Self(memory)
    }
}

impl Source for Filled {
    fn len(&self) -> u64 {
        self.0.bytes().len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        copy_part(self.0.bytes(), buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        Ok(Some(self.0.bytes()))
    }

    fn as_any(&self) -> Option<&dyn Any> {
        self.0.as_any()
    }
}
