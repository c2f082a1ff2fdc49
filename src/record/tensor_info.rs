use serde::{Deserialize, Serialize};

use crate::Dtype;

/// What is known of a tensor without its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// The name: the keys on the way to it, joined by dots.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The length of each dimension; empty for a scalar.
    pub shape: Vec<u64>,
    /// The size of the elements, row-major and without gaps, in bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Returns the number of elements; `None` where it is more than 2⁶⁴ on the way, whatever follows:
    /// PyTorch and the safetensors crate multiply in order, and refuse `[2^40, 2^40, 0]`.
    ///
    /// ```
    /// use ckpt::record::TensorInfo;
    /// assert_eq!(TensorInfo::count(&[0, 1 << 40, 1 << 40]), Some(0));
    /// assert_eq!(TensorInfo::count(&[1 << 40, 1 << 40, 0]), None);
    /// ```
    pub fn count(shape: &[u64]) -> Option<u64> {
        shape.iter().try_fold(1_u64, |count, &length| count.checked_mul(length))
    }
}
