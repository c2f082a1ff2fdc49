//! Memory that belongs to Python.
//!
//! The only file with `unsafe`: a tensor's memory is an address and a length that PyTorch vouches for.
#![expect(unsafe_code, reason = "the memory of Python's tensors is known by its address alone")]

use std::any::Any;
use std::fmt;
use std::slice;

use ckpt::Error;
use ckpt::tensor::{Allocator, HostMemory, Source};
use pyo3::prelude::*;

use crate::collector::Pause;
use crate::state::torch::{Torch, Use};

/// From here on, memory for what is loaded is asked to be in huge pages, in bytes: one of them.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A storage of PyTorch on the host, or the elements of a NumPy array, which stay as long as this does.
pub(crate) struct Memory {
    address: *mut u8,
    len: usize,
    /// The `UntypedStorage`, or the array, that the memory is of.
    owner: Py<PyAny>,
}

// SAFETY: the memory may be read from any thread: it is freed with its owner, whose reference count is only touched by
// the interpreter's own rules (`Py`). It moves only where somebody resizes the storage meanwhile: the documentation of
// `ckpt.save` and `ckpt.load_into` forbids that, as it can't be prevented from here. An array that is referred to isn't
// resized by NumPy.
unsafe impl Send for Memory {}
// SAFETY: as above. That nobody writes to it at the same time is asked of the caller, too, as `torch.save` does; who does
// all the same gets a file of bytes from before and after.
unsafe impl Sync for Memory {}

impl Memory {
    /// Takes the memory of a storage on the host.
    pub(crate) fn of(storage: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = storage.py();
        let address: usize = storage.call_method0(pyo3::intern!(py, "data_ptr"))?.extract()?;
        let len: usize = storage.call_method0(pyo3::intern!(py, "nbytes"))?.extract()?;
        Ok(Self { address: address as *mut u8, len, owner: storage.clone().unbind() })
    }

    /// Takes the elements of a NumPy array, in the order in which they are; none where there are gaps between them.
    pub(crate) fn of_array(array: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if !array.getattr("flags")?.getattr("c_contiguous")?.is_truthy()? {
            return Ok(None);
        }
        let (address, _): (usize, bool) =
            array.getattr("__array_interface__")?.get_item("data")?.extract()?;
        let len: usize = array.getattr("nbytes")?.extract()?;
        Ok(Some(Self { address: address as *mut u8, len, owner: array.clone().unbind() }))
    }

    /// Returns the storage.
    pub(crate) fn owner(&self) -> &Py<PyAny> {
        &self.owner
    }

    /// Returns address and length: what is equal of two is one storage.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.address.addr(), self.len)
    }

    /// Returns some of the bytes, to be overwritten: none where they reach beyond the storage.
    ///
    /// The caller of `ckpt.load_into` gave them away for that, and `load.rs` has seen that no other target has them.
    pub(crate) fn part_mut(&mut self, start: usize, len: usize) -> Option<&mut [u8]> {
        start.checked_add(len).filter(|end| *end <= self.len)?;
        if len == 0 {
            return Some(&mut []);
        }
        // SAFETY: as in `slice`, of which this is a part; and nobody else reads or writes these bytes: see above.
        Some(unsafe { slice::from_raw_parts_mut(self.address.add(start), len) })
    }

    fn slice(&self) -> &[u8] {
        if self.len == 0 || self.address.is_null() {
            return &[];
        }
        // SAFETY: PyTorch, or NumPy, says that there are `len` bytes at `address`, and the owner keeps them. Every byte is
        // a valid `u8`.
        unsafe { slice::from_raw_parts(self.address, self.len) }
    }
}

impl Source for Memory {
    fn len(&self) -> u64 {
        self.len as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        ckpt::tensor::Data::from(self.slice()).read_at(buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        Ok(Some(self.slice()))
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl HostMemory for Memory {
    fn bytes(&self) -> &[u8] {
        self.slice()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        if self.len == 0 || self.address.is_null() {
            return &mut [];
        }
        // SAFETY: as in `slice`; and this is the only one that knows the storage: `Storages` has just made it.
        unsafe { slice::from_raw_parts_mut(self.address, self.len) }
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.len)
    }
}

/// Makes storages of PyTorch for what is loaded.
#[derive(Debug)]
pub(crate) struct Storages;

impl Allocator for Storages {
    fn allocate(&self, len: usize) -> Result<Box<dyn HostMemory>, Error> {
        let made = Python::attach(|py| storage(Torch::get(py)?, len));
        made.map_err(|error| no_memory(&error))
    }

    fn allocate_all(&self, lengths: &[usize]) -> Result<Vec<Box<dyn HostMemory>>, Error> {
        let made = Python::attach(|py| {
            let (torch, _pause) = (Torch::get(py)?, Pause::new(py)?);
            lengths.iter().map(|len| storage(torch, *len)).collect::<PyResult<_>>()
        });
        made.map_err(|error| no_memory(&error))
    }
}

fn storage(torch: Use<'_>, len: usize) -> PyResult<Box<dyn HostMemory>> {
    let memory = Memory::of(&torch.empty_storage(len)?)?;
    ask_for_huge_pages(&memory);
    Ok(Box::new(memory))
}

fn no_memory(error: &PyErr) -> Error {
    Error::usage(format!("PyTorch gives no memory: {error}"))
}

/// Asks the kernel to back the memory with huge pages, which are filled several times as fast. Where it can't, nothing
/// is lost but speed.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(memory: &Memory) {
    use rustix::mm::{Advice, madvise};

    let start = memory.address.addr().next_multiple_of(HUGE_PAGE_BYTES);
    let end = (memory.address.addr() + memory.len) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if start < end {
        let first = memory.address.with_addr(start);
        // SAFETY: the pages lie within the storage's memory, and the advice changes none of their bytes.
        unsafe { madvise(first.cast(), end - start, Advice::LinuxHugepage) }.unwrap_or_default();
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_memory: &Memory) {}
