//! Memory of accelerators, which a background save copies to the host.
//!
//! What CUDA is asked for, PyTorch asks it: `ckpt/_staging.py` has the stream, the pinned memory and the copies.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use ckpt::Error;
use ckpt::tensor::{Device, DeviceCopy, HostMemory, Source};
use pyo3::prelude::*;

use crate::memory::Memory;

/// A device of PyTorch, with the stream that was current on it when the state was taken.
#[derive(Debug)]
pub(crate) struct Accelerator {
    name: String,
    /// A `ckpt._staging.Accelerator`.
    python: Py<PyAny>,
}

/// A copy: from the storage, from the byte on, to the address, so many bytes.
type Piece = (Py<PyAny>, usize, usize, usize);

impl Accelerator {
    /// Takes note of what the device was given so far: copies come after it.
    pub(crate) fn new(py: Python<'_>, name: &str) -> PyResult<Self> {
        let python = py.import("ckpt._staging")?.getattr("Accelerator")?.call1((name,))?.unbind();
        Ok(Self { name: name.to_owned(), python })
    }

    fn failed(&self, doing: &str, error: &PyErr) -> Error {
        Error::usage(format!("{}: can't {doing}: {error}", self.name))
    }

    fn copy_pieces(&self, py: Python<'_>, pieces: Vec<Piece>) -> Result<(), Error> {
        let result = self.python.call_method1(py, "copy", (pieces,));
        result.map(drop).map_err(|error| self.failed("copy from it", &error))
    }

    /// Returns what a source has, if it lies on this device.
    fn storage_of<'s>(&self, source: &'s dyn Source) -> Result<&'s OnDevice, Error> {
        let own = source.as_any().and_then(|any| any.downcast_ref::<OnDevice>());
        own.filter(|source| source.device.name == self.name)
            .ok_or_else(|| Error::usage(format!("what is to be copied from {} isn't there", self.name)))
    }
}

impl Device for Accelerator {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn HostMemory>, Error> {
        let memory =
            Python::attach(|py| Memory::of(self.python.call_method1(py, "pinned", (len,))?.bind(py)));
        let memory = memory.map_err(|error| self.failed("pin memory for it", &error))?;
        Ok(Box::new(memory))
    }

    fn copy(&self, copies: &mut [DeviceCopy<'_>]) -> Result<(), Error> {
        Python::attach(|py| {
            let mut all = Vec::with_capacity(copies.len());
            for copy in copies {
                let source = self.storage_of(copy.source)?;
                if source.len() != copy.target.len() as u64 {
                    return Err(Error::usage("a storage has another size than its place"));
                }
                all.push(source.copy(py, 0, copy.target));
            }
            self.copy_pieces(py, all)
        })
    }
}

/// A storage on a device.
pub(crate) struct OnDevice {
    /// Its address is the device's: the host can't read it.
    memory: Memory,
    device: Arc<Accelerator>,
}

impl OnDevice {
    pub(crate) fn new(memory: Memory, device: Arc<Accelerator>) -> Self {
        Self { memory, device }
    }

    fn copy(&self, py: Python<'_>, offset: usize, target: &mut [u8]) -> Piece {
        (self.memory.owner().clone_ref(py), offset, target.as_mut_ptr().addr(), target.len())
    }
}

impl Source for OnDevice {
    fn len(&self) -> u64 {
        Source::len(&self.memory)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        let (Some(_), Ok(offset)) = (end, usize::try_from(offset)) else {
            return Err(Error::usage("bytes were asked for that a storage doesn't have"));
        };
        Python::attach(|py| self.device.copy_pieces(py, vec![self.copy(py, offset, buffer)]))
    }

    fn device(&self) -> Option<Arc<dyn Device>> {
        let device: Arc<dyn Device> = Arc::clone(&self.device) as _;
        Some(device)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl fmt::Debug for OnDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnDevice({}, {} bytes)", self.device.name, self.len())
    }
}
