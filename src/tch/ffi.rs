//! The functions of the shim (`shim.cpp`), safe to call.
//!
//! All `unsafe` of this room is here. What crosses the border: pointers to tensors that tch keeps, which live
//! as long as the borrow that they were taken from, and memory with its length. An error comes as a text.
#![expect(unsafe_code, reason = "libtorch is C++")]

use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use tch::Tensor;

use crate::Error;
use crate::tensor::HostMemory;

/// A tensor, as tch's pointers point to it.
type CTensor = c_void;

/// What a tensor is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The number of its kind.
    pub(super) kind: i32,
    /// The type of its device.
    pub(super) device_type: i8,
    /// Which device of that type; -1 where there is only one.
    pub(super) device_index: i8,
    /// Whether it has a storage with strides.
    pub(super) is_dense: bool,
    /// Whether its elements lie row-major as they are.
    pub(super) is_contiguous: bool,
    data: *const u8,
    /// The size of its elements in bytes, where it is contiguous.
    pub(super) len: u64,
}

impl Facts {
    /// Returns the address of the first element, where it is contiguous.
    pub(super) fn address(&self) -> usize {
        self.data.addr()
    }
}

/// The type of devices that is the host.
pub(super) const CPU: i8 = 0;
/// The type of CUDA's devices.
pub(super) const CUDA: i8 = 1;

#[repr(C)]
struct RawCopy<'c> {
    source: *const CTensor,
    target: *mut u8,
    len: u64,
    lives: PhantomData<&'c mut [u8]>,
}

#[repr(C)]
struct RawMemory {
    opaque: [u8; 0],
}

unsafe extern "C" {
    fn ckpt_tch_free_text(text: *mut c_char);
    fn ckpt_tch_describe(tensor: *const CTensor, facts: *mut Facts) -> *mut c_char;
    fn ckpt_tch_settle(tensor: *const CTensor, out: *mut *mut CTensor) -> *mut c_char;
    fn ckpt_tch_read(tensor: *const CTensor, offset: u64, out: *mut u8, len: u64) -> *mut c_char;
    fn ckpt_tch_fill(tensor: *const CTensor, kind: i32, bytes: *const u8, len: u64) -> *mut c_char;
    fn ckpt_tch_stage(device_type: i8, index: i8, copies: *const RawCopy<'_>, count: usize) -> *mut c_char;
    fn ckpt_tch_pin(
        device_type: i8,
        index: i8,
        len: u64,
        start: *mut *mut u8,
        out: *mut *mut RawMemory,
    ) -> *mut c_char;
    fn ckpt_tch_unpin(memory: *mut RawMemory);
    fn ckpt_tch_generator_state(device_type: i8, index: i8, out: *mut *mut CTensor) -> *mut c_char;
    fn ckpt_tch_set_generator_state(device_type: i8, index: i8, bytes: *const u8, len: u64) -> *mut c_char;
    fn ckpt_tch_add(target: *const CTensor, other: *const CTensor, alpha: f64) -> *mut c_char;
    fn ckpt_tch_addcmul(
        target: *const CTensor,
        one: *const CTensor,
        two: *const CTensor,
        value: f64,
    ) -> *mut c_char;
    fn ckpt_tch_addcdiv(
        target: *const CTensor,
        one: *const CTensor,
        two: *const CTensor,
        value: f64,
    ) -> *mut c_char;
    fn ckpt_tch_mul(target: *const CTensor, factor: f64) -> *mut c_char;
    fn ckpt_tch_clear_gradient(tensor: *const CTensor) -> *mut c_char;
}

/// Makes an error of a text of the shim, and frees the text.
fn checked(text: *mut c_char) -> Result<(), Error> {
    if text.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returned null, which it isn't, or a text that ends with a zero and is ours to free.
    let message = unsafe {
        let message = CStr::from_ptr(text).to_string_lossy().into_owned();
        ckpt_tch_free_text(text);
        message
    };
    Err(Error::usage(format!("libtorch: {}", message.trim_end())))
}

/// Returns where libtorch has a tensor. It is there as long as the borrow lasts.
fn raw(tensor: &Tensor) -> *const CTensor {
    tensor.as_ptr().cast()
}

/// Takes a tensor that the shim made.
fn taken(made: *mut CTensor) -> Result<Tensor, Error> {
    if made.is_null() {
        return Err(Error::usage("libtorch: no tensor was made"));
    }
    // SAFETY: the shim made it by `new`, as tch makes those that it deletes, and nobody else has it.
    Ok(unsafe { Tensor::from_ptr(made.cast()) })
}

/// Returns what a tensor is.
pub(super) fn describe(tensor: &Tensor) -> Result<Facts, Error> {
    let mut facts = Facts {
        kind: -1,
        device_type: CPU,
        device_index: -1,
        is_dense: false,
        is_contiguous: false,
        data: ptr::null(),
        len: 0,
    };
    // SAFETY: the tensor lives during the call, and the struct has the layout of the shim's.
    checked(unsafe { ckpt_tch_describe(raw(tensor), &raw mut facts) })?;
    Ok(facts)
}

/// Returns the tensor as a checkpoint has it: row-major, without pending operations or history, on the host or
/// on a CUDA device. It shares the storage where all of that holds already.
pub(super) fn settle(tensor: &Tensor) -> Result<Tensor, Error> {
    let mut made = ptr::null_mut();
    // SAFETY: the tensor lives during the call.
    checked(unsafe { ckpt_tch_settle(raw(tensor), &raw mut made) })?;
    taken(made)
}

/// A tensor that was settled, whose bytes threads may read.
pub(super) struct Settled(Tensor);

// SAFETY: only its bytes are read, through functions of libtorch that are safe to call on one tensor by several
// threads: they change nothing but reference counts, which are atomic. That nobody writes to the storage
// meanwhile is the contract of `Source`, which this room's documentation passes on.
unsafe impl Sync for Settled {}

impl Settled {
    /// Settles a tensor.
    pub(super) fn new(tensor: &Tensor) -> Result<Self, Error> {
        settle(tensor).map(Self)
    }

    /// Returns what it is.
    pub(super) fn facts(&self) -> Result<Facts, Error> {
        describe(&self.0)
    }

    /// Returns the bytes, where they are in the host's memory.
    pub(super) fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        let facts = self.facts()?;
        if facts.device_type != CPU {
            return Ok(None);
        }
        let Some(len) = usize::try_from(facts.len).ok().filter(|len| *len > 0 && !facts.data.is_null())
        else {
            return Ok(Some(&[]));
        };
        // SAFETY: libtorch just said that so many bytes are there; the storage is held by the tensor that `self`
        // owns, so that it isn't freed, and nobody resizes or writes to it while it is read (see `Sync`).
        Ok(Some(unsafe { std::slice::from_raw_parts(facts.data, len) }))
    }

    /// Copies a part of the bytes, wherever they are.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let len = buffer.len() as u64;
        // SAFETY: the buffer has so many bytes; the shim holds the part against the tensor's size.
        checked(unsafe { ckpt_tch_read(raw(&self.0), offset, buffer.as_mut_ptr(), len) })
    }
}

impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settled({:?})", self.0.size())
    }
}

/// Copies tensors of one device to where their bytes belong.
pub(super) fn stage(device_type: i8, index: i8, copies: &mut [(&Settled, &mut [u8])]) -> Result<(), Error> {
    let copy = |(source, target): &mut (&Settled, &mut [u8])| RawCopy {
        source: raw(&source.0),
        target: target.as_mut_ptr(),
        len: target.len() as u64,
        lives: PhantomData,
    };
    let raw: Vec<_> = copies.iter_mut().map(copy).collect();
    // SAFETY: sources and targets are borrowed until the call returns, when all copies are done, also where it
    // fails; the shim holds the sizes against one another before it copies.
    checked(unsafe { ckpt_tch_stage(device_type, index, raw.as_ptr(), raw.len()) })
}

/// Overwrites a tensor with elements of a kind, converted where the tensor's is another.
pub(super) fn fill(tensor: &Tensor, kind: i32, bytes: &[u8]) -> Result<(), Error> {
    // SAFETY: the shim reads so many bytes, after it held their number against the tensor's size.
    checked(unsafe { ckpt_tch_fill(raw(tensor), kind, bytes.as_ptr(), bytes.len() as u64) })
}

/// Memory of the host that a device copies into at full speed.
pub(super) struct Pinned {
    start: *mut u8,
    len: usize,
    owner: *mut RawMemory,
}

// SAFETY: it is plain memory that nobody else has; libtorch and the CUDA runtime free it from any thread.
unsafe impl Send for Pinned {}
// SAFETY: through a shared reference it is only read.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Allocates memory for copies from a device, filled with zeros.
    pub(super) fn new(device_type: i8, index: i8, len: usize) -> Result<Self, Error> {
        let (mut start, mut owner) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the call only writes to the two places.
        let text = unsafe { ckpt_tch_pin(device_type, index, len as u64, &raw mut start, &raw mut owner) };
        checked(text)?;
        Ok(Self { start, len, owner })
    }
}

impl HostMemory for Pinned {
    fn bytes(&self) -> &[u8] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: so many bytes were allocated and written to, and they are there until `self` is dropped.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        if self.start.is_null() {
            return &mut [];
        }
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the shim made it, and it is dropped once.
        unsafe { ckpt_tch_unpin(self.owner) }
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({} bytes)", self.len)
    }
}

/// Returns the state of a device's default generator.
pub(super) fn generator_state(device_type: i8, index: i8) -> Result<Vec<u8>, Error> {
    let mut made = ptr::null_mut();
    // SAFETY: the call only writes to the place.
    checked(unsafe { ckpt_tch_generator_state(device_type, index, &raw mut made) })?;
    let state = Settled::new(&taken(made)?)?;
    Ok(state.bytes()?.unwrap_or_default().to_vec())
}

/// Sets the state of a device's default generator.
pub(super) fn set_generator_state(device_type: i8, index: i8, state: &[u8]) -> Result<(), Error> {
    let len = state.len() as u64;
    // SAFETY: the shim copies so many bytes before it looks at them.
    checked(unsafe { ckpt_tch_set_generator_state(device_type, index, state.as_ptr(), len) })
}

/// Adds `alpha * other`.
pub(super) fn add(target: &mut Tensor, other: &Tensor, alpha: f64) -> Result<(), Error> {
    // SAFETY: both tensors live during the call.
    checked(unsafe { ckpt_tch_add(raw(target), raw(other), alpha) })
}

/// Adds `value * one * two`.
pub(super) fn addcmul(target: &mut Tensor, one: &Tensor, two: &Tensor, value: f64) -> Result<(), Error> {
    // SAFETY: all tensors live during the call.
    checked(unsafe { ckpt_tch_addcmul(raw(target), raw(one), raw(two), value) })
}

/// Adds `value * one / two`.
pub(super) fn addcdiv(target: &mut Tensor, one: &Tensor, two: &Tensor, value: f64) -> Result<(), Error> {
    // SAFETY: all tensors live during the call.
    checked(unsafe { ckpt_tch_addcdiv(raw(target), raw(one), raw(two), value) })
}

/// Multiplies by a number.
pub(super) fn mul(target: &mut Tensor, factor: f64) -> Result<(), Error> {
    // SAFETY: the tensor lives during the call.
    checked(unsafe { ckpt_tch_mul(raw(target), factor) })
}

/// Takes the gradient off a tensor.
pub(super) fn clear_gradient(tensor: &Tensor) -> Result<(), Error> {
    // SAFETY: the tensor lives during the call, and its handles, `tensor` among them, stay on this thread.
    checked(unsafe { ckpt_tch_clear_gradient(raw(tensor)) })
}
