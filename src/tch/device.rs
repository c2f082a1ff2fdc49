//! Copies from CUDA devices to the host.

use super::ffi::{self, Pinned, Settled};
use crate::Error;
use crate::tensor::{Device, DeviceCopy, HostMemory, Source};

/// A device of libtorch, which copies the elements of its tensors to the host.
///
/// The copies run on a stream of their own, all of them in flight at once, and wait for what the calling
/// thread's current stream was given before. Its memory is pinned, and of exactly the size that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accelerator {
    device_type: i8,
    index: i8,
}

/// Returns the device of a type and index, where it is one whose memory isn't the host's.
pub(super) fn device_named(device_type: i8, index: i8) -> Option<Accelerator> {
    (device_type == ffi::CUDA).then_some(Accelerator { device_type, index })
}

impl Device for Accelerator {
    fn name(&self) -> String {
        let kind = if self.device_type == ffi::CUDA { "cuda" } else { "cpu" };
        format!("{kind}:{}", self.index)
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn HostMemory>, Error> {
        Ok(Box::new(Pinned::new(self.device_type, self.index, len)?))
    }

    fn copy(&self, copies: &mut [DeviceCopy<'_>]) -> Result<(), Error> {
        let mut raw = Vec::with_capacity(copies.len());
        for copy in copies {
            raw.push((self.tensor_of(copy.source)?, &mut *copy.target));
        }
        ffi::stage(self.device_type, self.index, &mut raw)
    }
}

impl Accelerator {
    /// Returns the tensor that a source has, if it is on this device.
    fn tensor_of(self, source: &dyn Source) -> Result<&Settled, Error> {
        let tensor = source.as_any().and_then(|any| any.downcast_ref::<Settled>());
        let tensor = tensor.ok_or_else(|| {
            Error::usage(format!("what is to be copied from {} is no tensor of tch", self.name()))
        })?;
        let facts = tensor.facts()?;
        if (facts.device_type, facts.device_index) != (self.device_type, self.index) {
            return Err(Error::usage(format!(
                "a tensor isn't on {}, and was to be copied from it",
                self.name()
            )));
        }
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;
    use crate::tensor::TensorSource;

    /// The host, played as a device: streams and events are all that it lacks.
    const HOST: Accelerator = Accelerator { device_type: ffi::CPU, index: -1 };

    #[test]
    fn all_tensors_come_to_their_places() {
        let floats = Tensor::from_slice(&[1.0_f32, -2.0, 3.5]);
        let turned = Tensor::from_slice(&[1_i64, 2, 3, 4]).view([2, 2]).tr();
        let empty = Tensor::from_slice::<u8>(&[]);
        let data = [&floats, &turned, &empty].map(|tensor| TensorSource::data(tensor).unwrap());
        let mut memory = HOST.allocate(12 + 32).unwrap();
        assert_eq!(memory.bytes(), [0; 44]);
        let (first, second) = memory.bytes_mut().split_at_mut(12);
        let mut copies = [
            DeviceCopy { source: &data[0], target: first },
            DeviceCopy { source: &data[1], target: second },
            DeviceCopy { source: &data[2], target: &mut [] },
        ];
        HOST.copy(&mut copies).unwrap();
        let wanted: Vec<u8> = [1.0_f32, -2.0, 3.5].into_iter().flat_map(f32::to_le_bytes).collect();
        let turned: Vec<u8> = [1_i64, 3, 2, 4].into_iter().flat_map(i64::to_le_bytes).collect();
        assert_eq!(memory.bytes(), [wanted, turned].concat());
    }

    #[test]
    fn what_is_not_of_the_device_is_refused() {
        let mut target = [0_u8; 2];
        let foreign = vec![1_u8, 2];
        let error = HOST.copy(&mut [DeviceCopy { source: &foreign, target: &mut target }]).unwrap_err();
        assert!(error.to_string().contains("no tensor of tch"), "{error}");
        let tensor = Tensor::from_slice(&[1_u8, 2, 3]);
        let data = TensorSource::data(&tensor).unwrap();
        let error = HOST.copy(&mut [DeviceCopy { source: &data, target: &mut target }]).unwrap_err();
        assert!(error.to_string().contains("another size than its place"), "{error}");
        let other = Accelerator { device_type: ffi::CUDA, index: 0 };
        let error = other.copy(&mut [DeviceCopy { source: &data, target: &mut target }]).unwrap_err();
        assert!(error.to_string().contains("a tensor isn't on cuda:0"), "{error}");
        assert_eq!(target, [0, 0]);
    }

    #[test]
    fn where_there_is_no_gpu_its_memory_is_refused() {
        if tch::Cuda::is_available() {
            return;
        }
        let gpu = Accelerator { device_type: ffi::CUDA, index: 0 };
        let error = gpu.allocate(1 << 20).unwrap_err();
        assert!(error.to_string().starts_with("libtorch: "), "{error}");
    }
}
