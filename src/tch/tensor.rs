//! A tensor of tch as a state takes it.

use std::any::Any;
use std::sync::Arc;

use tch::Tensor;

use super::device::{Accelerator, device_named};
use super::ffi::{self, Facts, Settled};
use super::kind;
use crate::tensor::{Data, Device, Source, TensorSource, TensorView};
use crate::{Dtype, Error};

/// Any dense tensor, on any device: its memory where it lies row-major on the host, a row-major copy of it where
/// it doesn't, and on CUDA devices the bytes there.
///
/// The state has the memory, not a copy: see the [room's documentation](crate::tch).
impl TensorSource for Tensor {
    fn dtype(&self) -> Result<Dtype, Error> {
        dtype(&ffi::describe(self)?)
    }

    fn shape(&self) -> Vec<u64> {
        // A length is never negative.
        self.size().into_iter().map(i64::unsigned_abs).collect()
    }

    fn data(&self) -> Result<Data<'_>, Error> {
        Ok(Elements::of(self)?.data())
    }
}

/// Returns a tensor as a [`State`](crate::State) takes it. It is [`TensorSource::view`], whose name tch's own
/// `view` hides.
///
/// ```
/// use ckpt::{State, tch::view};
/// let moments = tch::Tensor::from_slice(&[0.5_f32, 0.25]);
/// let mut state = State::new();
/// state.insert("moments", view(&moments)?)?;
/// # Ok::<(), ckpt::Error>(())
/// ```
///
/// # Errors
///
/// The tensor is quantized or sparse, or has elements that checkpoints have not.
pub fn view(tensor: &Tensor) -> Result<TensorView<'_>, Error> {
    TensorSource::view(tensor)
}

/// Returns the type of a tensor's elements, or says why a checkpoint can't have it.
pub(super) fn dtype(facts: &Facts) -> Result<Dtype, Error> {
    let kind = facts.kind;
    if kind::is_quantized(kind) {
        return Err(Error::usage(
            "a quantized tensor can't be saved alone, without its scales: save `int_repr()`, `q_scale()` and \
             `q_zero_point()`, or dequantize it",
        ));
    }
    if !facts.is_dense {
        return Err(Error::usage(
            "the tensor is sparse, of another library, or has no elements: save its parts, or `to_dense()`",
        ));
    }
    let unknown = || Error::usage(format!("checkpoints have no elements of libtorch's kind {kind}"));
    kind::dtype_of(kind).ok_or_else(unknown)
}

/// The elements of a tensor, wherever they are, which go on being there as long as this does.
#[derive(Debug)]
pub(super) struct Elements {
    tensor: Settled,
    /// The size in bytes.
    len: u64,
    /// Where they are; none on the host.
    accelerator: Option<Accelerator>,
}

impl Elements {
    /// Takes the elements of a tensor: its storage, or a row-major copy where they don't lie like that.
    pub(super) fn of(tensor: &Tensor) -> Result<Self, Error> {
        dtype(&ffi::describe(tensor)?)?;
        let tensor = Settled::new(tensor)?;
        let facts = tensor.facts()?;
        let accelerator = device_named(facts.device_type, facts.device_index);
        Ok(Self { tensor, len: facts.len, accelerator })
    }

    /// Returns them as a state takes them.
    pub(super) fn data(self) -> Data<'static> {
        Data::new(Arc::new(self))
    }
}

/// Returns a tensor as a state takes it, with elements that are there already: those of a tensor that it shares
/// them with.
pub(super) fn view_of(tensor: &Tensor, data: Data<'static>) -> Result<TensorView<'static>, Error> {
    TensorView::new(tensor.dtype()?, tensor.shape(), data)
}

impl Source for Elements {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.tensor.read_at(buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        let bytes = self.tensor.bytes()?;
        if bytes.is_some_and(|bytes| bytes.len() as u64 != self.len) {
            return Err(Error::usage("a tensor was resized after it was put in a state"));
        }
        Ok(bytes)
    }

    fn device(&self) -> Option<Arc<dyn Device>> {
        self.accelerator.map(|device| Arc::new(device) as Arc<dyn Device>)
    }

    /// Returns the tensor, which is what [`Accelerator`] copies.
    fn as_any(&self) -> Option<&dyn Any> {
        Some(&self.tensor)
    }
}
