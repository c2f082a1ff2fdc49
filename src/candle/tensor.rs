use candle_core::{CpuStorage, Device, Storage, Tensor};

use super::dtype::{ours, theirs};
use super::failed;
use crate::tensor::{Data, TensorSource};
use crate::{Dtype, Error};

/// The elements are copied: a variable's change in place, and what is saved must not.
impl TensorSource for Tensor {
    fn dtype(&self) -> Result<Dtype, Error> {
        ours(Self::dtype(self))
    }

    fn shape(&self) -> Vec<u64> {
        self.dims().iter().map(|&length| length as u64).collect()
    }

    fn data(&self) -> Result<Data<'_>, Error> {
        to_bytes(self).map(Into::into)
    }
}

/// Makes a tensor of elements that lie in memory little-endian and row-major, without gaps.
///
/// # Errors
///
/// candle hasn't the type, the bytes aren't those of the shape, or the device fails.
pub fn from_bytes(bytes: &[u8], dtype: Dtype, shape: &[u64], device: &Device) -> Result<Tensor, Error> {
    let Some(candle) = theirs(dtype) else {
        return Err(Error::usage(format!("candle has no tensors of dtype {dtype}")));
    };
    let lengths: Result<Vec<usize>, _> = shape.iter().map(|&length| usize::try_from(length)).collect();
    let count = shape.iter().try_fold(1_u64, |count, &length| count.checked_mul(length));
    let wanted = count.and_then(|count| dtype.tensor_bytes(count));
    let (Ok(lengths), true) = (lengths, wanted == Some(bytes.len() as u64)) else {
        let message = format!("{} bytes are no tensor of dtype {dtype} and shape {shape:?}", bytes.len());
        return Err(Error::usage(message));
    };
    Tensor::from_raw_buffer(bytes, candle, &lengths, device)
        .map_err(|error| failed("make a tensor of the state", &error))
}

/// Copies the elements of a tensor of whatever layout and device.
pub(super) fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>, Error> {
    let on_host = tensor.to_device(&Device::Cpu).and_then(|tensor| tensor.contiguous());
    let tensor = on_host.map_err(|error| failed("copy a tensor to the host", &error))?;
    let (storage, layout) = tensor.storage_and_layout();
    let range = layout.contiguous_offsets();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, range) else {
        return Err(Error::usage("candle hasn't the tensor on the host, where it was copied to"));
    };
    elements(storage, start, end)
        .ok_or_else(|| Error::usage("the tensor lies beyond its storage, or has a type without elements"))
}

/// Copies elements out of a storage; none where they lie beyond it, or have no size.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "two of the types have no name here: they are half's"
)]
fn elements(storage: &CpuStorage, start: usize, end: usize) -> Option<Vec<u8>> {
    Some(match storage {
        CpuStorage::U8(all) | CpuStorage::F8E8M0(all) => all.get(start..end)?.to_vec(),
        CpuStorage::U32(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::I16(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::I32(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::I64(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::BF16(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::F16(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::F32(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::F64(all) => bytes_of(all.get(start..end)?, |x| x.to_le_bytes()),
        CpuStorage::F8E4M3(all) => bytes_of(all.get(start..end)?, |x| [x.to_bits()]),
        _ => return None,
    })
}

/// Writes each element's bytes behind the others: on a little-endian machine, a copy.
fn bytes_of<T: Copy, const N: usize>(elements: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut out = vec![0; elements.len().saturating_mul(N)];
    for (to, &from) in out.as_chunks_mut::<N>().0.iter_mut().zip(elements) {
        *to = bytes(from);
    }
    out
}
