//! Elements in order: from a view of a storage to row-major bytes without gaps.

use super::{Body, Tensor};
use crate::Dtype;

/// Copies the elements of a strided tensor into order: row-major, without gaps.
///
/// `data` are the bytes of its storage. `None` where the tensor isn't strided, or reaches beyond them.
pub(crate) fn gather(data: &[u8], tensor: &Tensor) -> Option<Vec<u8>> {
    let bytes = usize::try_from(tensor.len_bytes()?).ok()?;
    // What lies beyond the data is found before memory is asked for; an expanded tensor can still be large.
    let mut out = Vec::new();
    out.try_reserve_exact(bytes).ok()?;
    out.resize(bytes, 0);
    gather_into(data, tensor, &mut out)?;
    Some(out)
}

/// As [`gather`], into memory that is as long as the elements.
pub(crate) fn gather_into(data: &[u8], tensor: &Tensor, out: &mut [u8]) -> Option<()> {
    let Body::Strided { offset, strides, .. } = &tensor.body else { return None };
    if tensor.len_bytes()? != out.len() as u64 {
        return None;
    }
    if out.is_empty() {
        return Some(());
    }
    if let Some(start) = tensor.contiguous_start() {
        let start = usize::try_from(start).ok()?;
        out.copy_from_slice(data.get(start..start.checked_add(out.len())?)?);
        return Some(());
    }
    let size = tensor.dtype.bytes_for(1)?;
    let (run, outer) = longest_run(&tensor.shape, strides);
    let bytes = usize::try_from(run.checked_mul(size)?).ok()?;
    let shape = tensor.shape.get(..outer)?;
    let mut index = vec![0_u64; outer];
    for place in out.chunks_exact_mut(bytes) {
        let position = index.iter().zip(strides).try_fold(*offset, |at, (i, stride)| {
            i.checked_mul(*stride).and_then(|step| at.checked_add(step))
        })?;
        let start = usize::try_from(position.checked_mul(size)?).ok()?;
        place.copy_from_slice(data.get(start..start.checked_add(bytes)?)?);
        advance(&mut index, shape);
    }
    Some(())
}

/// Returns how many elements lie one behind the other, and how many dimensions are around them.
fn longest_run(shape: &[u64], strides: &[u64]) -> (u64, usize) {
    let mut run = 1_u64;
    let mut outer = shape.len();
    for (length, stride) in shape.iter().zip(strides).rev() {
        if *stride != run && *length != 1 {
            break;
        }
        run = run.saturating_mul(*length);
        outer -= 1;
    }
    (run, outer)
}

/// Steps to the next index, the last dimension first.
fn advance(index: &mut [u64], shape: &[u64]) {
    for (i, length) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < *length {
            return;
        }
        *i = 0;
    }
}

/// Reverses the bytes of each element; of a complex one those of each of its two parts.
pub(crate) fn swap(data: &mut [u8], dtype: Dtype) {
    for element in data.chunks_exact_mut(swap_width(dtype)) {
        element.reverse();
    }
}

/// Returns how many bytes change places when an element's order is turned.
pub(crate) fn swap_width(dtype: Dtype) -> usize {
    let bits = match dtype {
        Dtype::C32 | Dtype::C64 | Dtype::C128 => dtype.bits() / 2,
        other => other.bits(),
    };
    usize::try_from(bits / 8).unwrap_or(1).max(1)
}

impl Tensor {
    /// Returns the size of the elements, row-major and without gaps, in bytes; `None` where that is more than
    /// 2⁶⁴, which a tensor of expanded dimensions can be.
    pub fn len_bytes(&self) -> Option<u64> {
        let count = self.shape.iter().try_fold(1_u64, |count, &length| count.checked_mul(length))?;
        self.dtype.tensor_bytes(count)
    }

    /// Returns where in its storage a strided tensor begins, in bytes, if its elements lie there row-major and
    /// without gaps. `None` for any other.
    pub fn contiguous_start(&self) -> Option<u64> {
        let Body::Strided { offset, strides, .. } = &self.body else { return None };
        if strides.len() != self.shape.len() {
            return None;
        }
        let (_, outer) = longest_run(&self.shape, strides);
        if outer > 0 && !self.shape.contains(&0) && self.dtype.elements_per_byte() == 1 {
            return None;
        }
        // Where several elements share a byte, PyTorch has no strides within it.
        match self.dtype.elements_per_byte() {
            1 => self.dtype.bytes_for(*offset),
            several => Some(offset / several),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::StorageId;
    use super::*;

    fn tensor(shape: &[u64], offset: u64, strides: &[u64]) -> Tensor {
        let strides = strides.to_vec();
        let body = Body::Strided { storage: StorageId(0), offset, strides, quantizer: None };
        Tensor::new(Dtype::I16, shape.to_vec(), body)
    }

    /// The elements by their indices, one by one.
    fn one_by_one(data: &[u8], shape: &[u64], offset: u64, strides: &[u64]) -> Vec<u8> {
        let count: u64 = shape.iter().product();
        let element = |at: u64| {
            let mut rest = at;
            let mut position = offset;
            for (length, stride) in shape.iter().zip(strides).rev() {
                position += rest % length * stride;
                rest /= length;
            }
            let start = usize::try_from(position * 2).unwrap();
            data[start..start + 2].to_vec()
        };
        (0..count).flat_map(element).collect()
    }

    #[test]
    fn views_come_out_in_order() {
        let data: Vec<u8> = (0..200).collect();
        for (shape, offset, strides) in [
            (vec![], 7, vec![]),
            (vec![4], 1, vec![1]),
            (vec![4], 1, vec![3]),
            (vec![3, 4], 0, vec![4, 1]),
            (vec![3, 4], 2, vec![1, 3]),
            (vec![3, 4], 2, vec![8, 1]),
            (vec![3, 1, 4], 2, vec![8, 77, 1]),
            (vec![2, 3, 4], 0, vec![20, 4, 1]),
            (vec![2, 3, 4], 5, vec![1, 8, 2]),
            (vec![5, 2], 5, vec![0, 1]),
            (vec![5, 2], 5, vec![0, 0]),
        ] {
            let tensor = tensor(&shape, offset, &strides);
            let expected = one_by_one(&data, &shape, offset, &strides);
            assert_eq!(gather(&data, &tensor), Some(expected), "{shape:?} {strides:?}");
        }
        assert_eq!(gather(&data, &tensor(&[3, 0], 99, &[7, 7])), Some(Vec::new()));
    }

    #[test]
    fn what_lies_beyond_the_storage_is_refused() {
        let data = [0; 20];
        for (shape, offset, strides) in [
            (vec![11], 0, vec![1]),
            (vec![1], 10, vec![1]),
            (vec![2, 2], 0, vec![9, 1]),
            (vec![2], u64::MAX, vec![1]),
        ] {
            assert_eq!(gather(&data, &tensor(&shape, offset, &strides)), None, "{shape:?}");
        }
        assert_eq!(gather(&data, &tensor(&[1 << 40, 1 << 40], 0, &[0, 0])), None);
    }

    #[test]
    fn bytes_turn_within_a_number() {
        let mut data = [1, 2, 3, 4, 5, 6, 7, 8];
        swap(&mut data, Dtype::C64);
        assert_eq!(data, [4, 3, 2, 1, 8, 7, 6, 5]);
        swap(&mut data, Dtype::U8);
        swap(&mut data, Dtype::I64);
        assert_eq!(data, [5, 6, 7, 8, 1, 2, 3, 4]);
    }
}
