use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::Device;
use crate::Error;

/// A run of bytes that is somewhere: in memory, in a mapped file, in a file that is read piece by piece.
///
/// The contract is with those who save and load states: a source's length and bytes never change, and it
/// may be read by several threads at once.
pub trait Source: Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    ///
    /// The bytes can't be had, aren't those that were saved, or end before the buffer does.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error>;

    /// Returns all bytes where they are in memory already; `None` where they would have to be read.
    ///
    /// A source that checks its bytes does so the first time, so that this may take a while and fail.
    ///
    /// # Errors
    ///
    /// As [`Source::read_at`].
    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        Ok(None)
    }

    /// Returns who copies the bytes to the host, where they lie on an accelerator. [`Source::read_at`] copies
    /// them as well, a part at a time.
    fn device(&self) -> Option<Arc<dyn Device>> {
        None
    }

    /// Returns the source as what it is, so that its [`Device`] knows it again.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }

    /// Returns whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The bytes of one storage: borrowed from whoever has them, or shared.
#[derive(Clone)]
pub struct Data<'a>(Inner<'a>);

#[derive(Clone)]
enum Inner<'a> {
    Borrowed(&'a [u8]),
    Shared(Arc<dyn Source + 'a>),
}

impl<'a> Data<'a> {
    /// Takes a source.
    pub fn new(source: Arc<dyn Source + 'a>) -> Self {
        Self(Inner::Shared(source))
    }

    /// Returns whether somebody else has the same source too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(&self.0, Inner::Shared(source) if Arc::strong_count(source) > 1)
    }

    /// Returns whether both are one source, of which one was cloned.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Inner::Shared(one), Inner::Shared(other)) => {
                std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
            }
            _ => false,
        }
    }
}

impl Source for Data<'_> {
    fn len(&self) -> u64 {
        match &self.0 {
            Inner::Borrowed(bytes) => bytes.len() as u64,
            Inner::Shared(source) => source.len(),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        match &self.0 {
            Inner::Borrowed(bytes) => copy_part(bytes, buffer, offset),
            Inner::Shared(source) => source.read_at(buffer, offset),
        }
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        match &self.0 {
            Inner::Borrowed(bytes) => Ok(Some(bytes)),
            Inner::Shared(source) => source.bytes(),
        }
    }

    fn device(&self) -> Option<Arc<dyn Device>> {
        if let Inner::Shared(source) = &self.0 { source.device() } else { None }
    }

    fn as_any(&self) -> Option<&dyn Any> {
        if let Inner::Shared(source) = &self.0 { source.as_any() } else { None }
    }
}

impl<'a> From<&'a [u8]> for Data<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Inner::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Data<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(Arc::new(bytes))
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        copy_part(self, buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        Ok(Some(self))
    }
}

/// Fills `buffer` with the bytes from `offset` on.
fn copy_part(bytes: &[u8], buffer: &mut [u8], offset: u64) -> Result<(), Error> {
    let start = usize::try_from(offset).ok();
    let part = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
    let part = part.ok_or_else(|| {
        let wanted = buffer.len();
        Error::usage(format!("{wanted} bytes from {offset} on were asked for, of {}", bytes.len()))
    })?;
    buffer.copy_from_slice(part);
    Ok(())
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.len())
    }
}
