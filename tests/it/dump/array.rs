//! The values of NumPy's arrays and scalars.

use ckpt::record::TensorInfo;
use ckpt::tensor::{Array, ArrayData, Node, Tree};
use serde_json::{Value, json};

use super::crc32;

/// The size of a pointer, which is what NumPy counts for an object.
const OBJECT_BYTES: u64 = 8;

/// The value of an array or scalar.
pub(super) fn value(tree: &Tree, array: &Array) -> Value {
    let elements = elements(tree, array);
    let count = TensorInfo::count(&array.shape).expect("a count below 2⁶⁴");
    let bytes = elements.as_ref().map_or(count * OBJECT_BYTES, |elements| elements.len() as u64);
    json!({
        "dtype": little_endian(&array.dtype),
        "shape": array.shape,
        "bytes": bytes,
        "crc32": elements.map(|elements| crc32(&elements)),
    })
}

/// The dtype's name with the byte order of the dump.
fn little_endian(name: &str) -> String {
    dtype_name(name).replace('>', "<")
}

/// The name as NumPy prints it: it pickles `O8` for `O`.
pub(super) fn dtype_name(name: &str) -> String {
    if name == "|O8" { "|O".to_owned() } else { name.to_owned() }
}

/// The elements, row-major and little-endian; `None` for objects.
pub(super) fn elements(tree: &Tree, array: &Array) -> Option<Vec<u8>> {
    let ArrayData::Bytes(data) = array.data else { return None };
    let bytes = match tree.node(data) {
        Node::Bytes(bytes) | Node::ByteArray(bytes) => bytes.to_vec(),
        Node::Text(text) => text.as_bytes().to_vec(),
        other => panic!("an array's data is of type {}", other.type_name()),
    };
    let count = usize::try_from(TensorInfo::count(&array.shape)?).expect("a test's array fits into memory");
    if count == 0 {
        return Some(Vec::new());
    }
    let size = bytes.len() / count;
    let mut bytes = if array.fortran { row_major(&bytes, &array.shape, size) } else { bytes };
    if array.dtype.starts_with('>') {
        let width = match array.dtype.as_bytes()[1] {
            b'c' => size / 2,
            b'U' => 4,
            _ => size,
        };
        bytes.chunks_exact_mut(width.max(1)).for_each(<[u8]>::reverse);
    }
    Some(bytes)
}

/// Reorders elements whose first index changes fastest.
fn row_major(bytes: &[u8], shape: &[u64], size: usize) -> Vec<u8> {
    let lengths: Vec<usize> =
        shape.iter().map(|&length| usize::try_from(length).expect("a small array")).collect();
    let mut out = Vec::with_capacity(bytes.len());
    for position in 0..bytes.len() / size {
        let (mut rest, mut index) = (position, vec![0; lengths.len()]);
        for (slot, length) in index.iter_mut().zip(&lengths).rev() {
            (*slot, rest) = (rest % length, rest / length);
        }
        let column_major =
            index.iter().zip(&lengths).rev().fold(0, |at, (index, length)| at * length + index);
        out.extend_from_slice(&bytes[column_major * size..][..size]);
    }
    out
}
