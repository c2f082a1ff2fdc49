//! libtorch's numbers of the element types.

use crate::Dtype;

/// The numbers of `c10::ScalarType`, which are part of PyTorch's formats and stay what they are. tch knows only
/// some of them; tensors of the others can come from C++ or Python.
const KINDS: [(i32, Dtype); 24] = [
    (0, Dtype::U8),
    (1, Dtype::I8),
    (2, Dtype::I16),
    (3, Dtype::I32),
    (4, Dtype::I64),
    (5, Dtype::F16),
    (6, Dtype::F32),
    (7, Dtype::F64),
    (8, Dtype::C32),
    (9, Dtype::C64),
    (10, Dtype::C128),
    (11, Dtype::Bool),
    (15, Dtype::Bf16),
    (21, Dtype::Bits8),
    (22, Dtype::Bits16),
    (23, Dtype::F8E5m2),
    (24, Dtype::F8E4m3fn),
    (25, Dtype::F8E5m2fnuz),
    (26, Dtype::F8E4m3fnuz),
    (27, Dtype::U16),
    (28, Dtype::U32),
    (29, Dtype::U64),
    (44, Dtype::F8E8m0fnu),
    (45, Dtype::F4x2),
];

/// The numbers of the quantized types, whose scales lie beside the elements.
const QUANTIZED: [i32; 5] = [12, 13, 14, 16, 17];

/// Returns the element type of a number.
pub(super) fn dtype_of(kind: i32) -> Option<Dtype> {
    KINDS.iter().find(|(number, _)| *number == kind).map(|(_, dtype)| *dtype)
}

/// Returns the number of an element type.
pub(super) fn number_of(dtype: Dtype) -> Option<i32> {
    KINDS.iter().find(|(_, other)| *other == dtype).map(|(number, _)| *number)
}

/// Returns whether a number is that of a quantized type.
pub(super) fn is_quantized(kind: i32) -> bool {
    QUANTIZED.contains(&kind)
}
