use std::any::Any;
use std::fmt;
use std::ops::Range;
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

    /// Returns memory that the bytes are a part of, and where in it they begin. Others may lie around them: what
    /// lies one behind the other in memory and in a file can be written from there, without a copy.
    fn region(&self) -> Option<(&[u8], u64)> {
        None
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
    /// The bytes of a source from `start` on.
    Part {
        whole: Arc<dyn Source + 'a>,
        start: u64,
        len: u64,
    },
}

impl<'a> Data<'a> {
    /// Takes a source.
    pub fn new(source: Arc<dyn Source + 'a>) -> Self {
        Self(Inner::Shared(source))
    }

    /// Takes a part of a source: many parts can share one.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ckpt::tensor::{Data, Source as _};
    /// let part = Data::part(Arc::new(vec![1, 2, 3]), 1..3)?;
    /// assert_eq!(part.bytes()?, Some(&[2, 3][..]));
    /// assert!(Data::part(Arc::new(vec![1, 2, 3]), 1..4).is_err());
    /// # Ok::<(), ckpt::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The source ends before the part does.
    pub fn part(whole: Arc<dyn Source + 'a>, range: Range<u64>) -> Result<Self, Error> {
        let Range { start, end } = range;
        match end.checked_sub(start) {
            Some(len) if end <= whole.len() => Ok(Self(Inner::Part { whole, start, len })),
            _ => Err(Error::usage(format!("bytes {start} to {end} were asked for, of {}", whole.len()))),
        }
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
            Inner::Part { len, .. } => *len,
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        match &self.0 {
            Inner::Borrowed(bytes) => copy_part(bytes, buffer, offset),
            Inner::Shared(source) => source.read_at(buffer, offset),
            Inner::Part { whole, start, len } => {
                let end = offset.checked_add(buffer.len() as u64).filter(|end| end <= len);
                let place = end.and_then(|_| start.checked_add(offset));
                whole.read_at(buffer, place.ok_or_else(|| outside(buffer.len(), offset, *len))?)
            }
        }
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        match &self.0 {
            Inner::Borrowed(bytes) => Ok(Some(bytes)),
            Inner::Shared(source) => source.bytes(),
            Inner::Part { whole, start, len } => {
                let Some(bytes) = whole.bytes()? else { return Ok(None) };
                let part = usize::try_from(*start).ok().zip(usize::try_from(*len).ok());
                let part = part.and_then(|(start, len)| bytes.get(start..start.checked_add(len)?));
                part.map(Some).ok_or_else(|| {
                    outside(usize::try_from(*len).unwrap_or(usize::MAX), *start, bytes.len() as u64)
                })
            }
        }
    }

    fn region(&self) -> Option<(&[u8], u64)> {
        match &self.0 {
            Inner::Borrowed(_) => None,
            Inner::Shared(source) => source.region(),
            Inner::Part { whole, start, .. } => Some((whole.bytes().ok()??, *start)),
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
pub(super) fn copy_part(bytes: &[u8], buffer: &mut [u8], offset: u64) -> Result<(), Error> {
    let start = usize::try_from(offset).ok();
    let part = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
    let part = part.ok_or_else(|| outside(buffer.len(), offset, bytes.len() as u64))?;
    buffer.copy_from_slice(part);
    Ok(())
}

fn outside(wanted: usize, offset: u64, len: u64) -> Error {
    Error::usage(format!("{wanted} bytes from {offset} on were asked for, of {len}"))
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_it_is_of_the_whole() {
        let whole: Arc<dyn Source> = Arc::new((0..10).collect::<Vec<u8>>());
        let part = Data::part(Arc::clone(&whole), 2..6).unwrap();
        assert_eq!((part.len(), part.bytes().unwrap()), (4, Some(&[2, 3, 4, 5][..])));
        let mut buffer = [0; 2];
        part.read_at(&mut buffer, 2).unwrap();
        assert_eq!(buffer, [4, 5]);
        for offset in [3, 4, u64::MAX] {
            assert!(part.read_at(&mut buffer, offset).is_err(), "{offset}");
        }
        assert_eq!(part.region().map(|(all, start)| (all.len(), start)), Some((10, 2)));
        for (start, end) in [(9, 11), (7, 5), (0, u64::MAX)] {
            assert!(Data::part(Arc::clone(&whole), start..end).is_err(), "{start}..{end}");
        }
    }
}
