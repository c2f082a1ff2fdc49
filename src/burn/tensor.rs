use burn_core::tensor::backend::Backend;
use burn_core::tensor::{BasicOps, DType, Tensor, TensorData, TensorKind};

use super::dtype::{BOOL, ours, theirs};
use crate::tensor::{Data, TensorRef, TensorSource, swap};
use crate::{Dtype, Error};

/// The elements are copied from wherever the backend has them.
impl<B: Backend, const D: usize, K: TensorKind<B> + BasicOps<B>> TensorSource for Tensor<B, D, K> {
    fn dtype(&self) -> Result<Dtype, Error> {
        ours(Self::dtype(self))
    }

    fn shape(&self) -> Vec<u64> {
        self.dims().iter().map(|&length| length as u64).collect()
    }

    fn data(&self) -> Result<Data<'_>, Error> {
        copied(self).map(Into::into)
    }
}

/// Copies the elements of a tensor, wherever they are.
pub(super) fn copied<B, const D: usize, K>(tensor: &Tensor<B, D, K>) -> Result<Vec<u8>, Error>
where
    B: Backend,
    K: TensorKind<B> + BasicOps<B>,
{
    let dtype = TensorSource::dtype(tensor)?;
    let data = tensor.clone().try_into_data();
    let data = data.map_err(|error| Error::usage(format!("burn can't read the tensor: {error}")))?;
    to_bytes(data, dtype)
}

/// Takes the elements, little-endian; a truth value is one byte.
fn to_bytes(data: TensorData, dtype: Dtype) -> Result<Vec<u8>, Error> {
    if ours(data.dtype)? != dtype {
        return Err(Error::usage(format!("burn has {:?} where the tensor is of dtype {dtype}", data.dtype)));
    }
    let data = if dtype == Dtype::Bool { data.convert_dtype(BOOL) } else { data };
    let mut bytes = data.as_bytes().to_vec();
    to_other_end(&mut bytes, dtype);
    Ok(bytes)
}

/// Makes burn's data of a tensor of a state, in the type `wanted`.
pub(super) fn to_data(found: &TensorRef<'_>, wanted: DType) -> Result<TensorData, Error> {
    let Some(dtype) = theirs(found.dtype()) else {
        return Err(Error::usage(format!("burn has no tensors of dtype {}", found.dtype())));
    };
    let shape: Result<Vec<usize>, _> = found.shape().iter().map(|&length| usize::try_from(length)).collect();
    let shape = shape.map_err(|_| Error::usage("the tensor is too large for this machine"))?;
    let mut bytes = found.bytes()?.into_owned();
    to_other_end(&mut bytes, found.dtype());
    if found.dtype() == Dtype::Bool {
        // Rust knows two truth values, and a file may hold any byte.
        for byte in &mut bytes {
            *byte = u8::from(*byte != 0);
        }
    }
    Ok(TensorData::from_bytes_vec(bytes, shape, dtype).convert_dtype(wanted))
}

/// Turns elements from or to the machine's order of bytes, where that isn't the file's.
fn to_other_end(bytes: &mut [u8], dtype: Dtype) {
    if cfg!(target_endian = "big") {
        swap(bytes, dtype);
    }
}
