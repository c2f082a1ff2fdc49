//! The element types that frameworks have, and their names in each of them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! dtypes {
    ($($(#[doc = $doc:literal])+ $name:ident = $short:literal, $torch:literal, $safetensors:expr, $bits:literal;)+) => {
        /// The type of a tensor's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Dtype {
            $($(#[doc = $doc])+ #[serde(rename = $short)] $name,)+
        }

        impl Dtype {
            /// All types.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the project's short name, as in reports and `--require`: `f32`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $short,)+ }
            }

            /// Returns PyTorch's name: `float32`.
            pub fn torch_name(self) -> &'static str {
                match self { $(Self::$name => $torch,)+ }
            }

            /// Returns the safetensors name (`F32`), where that format has the type.
            pub fn safetensors_name(self) -> Option<&'static str> {
                match self { $(Self::$name => $safetensors,)+ }
            }

            /// Returns the size of one element in bits.
            pub fn bits(self) -> u64 {
                match self { $(Self::$name => $bits,)+ }
            }
        }
    };
}

dtypes! {
    /// A truth value, one byte.
    Bool = "bool", "bool", Some("BOOL"), 8;
    /// Unsigned, 8 bits.
    U8 = "u8", "uint8", Some("U8"), 8;
    /// Signed, 8 bits.
    I8 = "i8", "int8", Some("I8"), 8;
    /// Unsigned, 16 bits.
    U16 = "u16", "uint16", Some("U16"), 16;
    /// Signed, 16 bits.
    I16 = "i16", "int16", Some("I16"), 16;
    /// Unsigned, 32 bits.
    U32 = "u32", "uint32", Some("U32"), 32;
    /// Signed, 32 bits.
    I32 = "i32", "int32", Some("I32"), 32;
    /// Unsigned, 64 bits.
    U64 = "u64", "uint64", Some("U64"), 64;
    /// Signed, 64 bits.
    I64 = "i64", "int64", Some("I64"), 64;
    /// IEEE 754 half precision.
    F16 = "f16", "float16", Some("F16"), 16;
    /// bfloat16: the upper half of an `f32`.
    Bf16 = "bf16", "bfloat16", Some("BF16"), 16;
    /// IEEE 754 single precision.
    F32 = "f32", "float32", Some("F32"), 32;
    /// IEEE 754 double precision.
    F64 = "f64", "float64", Some("F64"), 64;
    /// A pair of `f16`.
    C32 = "c32", "complex32", None, 32;
    /// A pair of `f32`.
    C64 = "c64", "complex64", Some("C64"), 64;
    /// A pair of `f64`.
    C128 = "c128", "complex128", None, 128;
    /// OCP 8-bit float, 4 exponent bits, finite and NaN.
    F8E4m3fn = "f8_e4m3fn", "float8_e4m3fn", Some("F8_E4M3"), 8;
    /// OCP 8-bit float, 5 exponent bits.
    F8E5m2 = "f8_e5m2", "float8_e5m2", Some("F8_E5M2"), 8;
    /// As `f8_e4m3fn`, without a negative zero.
    F8E4m3fnuz = "f8_e4m3fnuz", "float8_e4m3fnuz", Some("F8_E4M3FNUZ"), 8;
    /// As `f8_e5m2`, without a negative zero.
    F8E5m2fnuz = "f8_e5m2fnuz", "float8_e5m2fnuz", Some("F8_E5M2FNUZ"), 8;
    /// An 8-bit power of two: the scale of microscaled blocks.
    F8E8m0fnu = "f8_e8m0fnu", "float8_e8m0fnu", Some("F8_E8M0"), 8;
    /// A 4-bit float in safetensors, two of them to a byte. PyTorch counts in pairs: see `F4x2`.
    F4 = "f4", "float4_e2m1fn", Some("F4"), 4;
    /// Two 4-bit floats, PyTorch's unit of storage.
    F4x2 = "f4x2", "float4_e2m1fn_x2", None, 8;
    /// A quantized signed byte.
    QI8 = "qi8", "qint8", None, 8;
    /// A quantized unsigned byte.
    QU8 = "qu8", "quint8", None, 8;
    /// A quantized 32-bit integer.
    QI32 = "qi32", "qint32", None, 32;
    /// Two quantized 4-bit integers in a byte.
    QU4x2 = "qu4x2", "quint4x2", None, 8;
    /// Four quantized 2-bit integers in a byte.
    QU2x4 = "qu2x4", "quint2x4", None, 8;
    /// Uninterpreted: eight 1-bit units.
    Bits1x8 = "bits1x8", "bits1x8", None, 8;
    /// Uninterpreted: four 2-bit units.
    Bits2x4 = "bits2x4", "bits2x4", None, 8;
    /// Uninterpreted: two 4-bit units.
    Bits4x2 = "bits4x2", "bits4x2", None, 8;
    /// Uninterpreted byte.
    Bits8 = "bits8", "bits8", None, 8;
    /// Uninterpreted pair of bytes.
    Bits16 = "bits16", "bits16", None, 16;
    /// A shell dtype of PyTorch: a 1-bit unsigned integer in one byte.
    U1 = "u1", "uint1", None, 8;
    /// A shell dtype of PyTorch: a 2-bit unsigned integer in one byte.
    U2 = "u2", "uint2", None, 8;
    /// A shell dtype of PyTorch: a 3-bit unsigned integer in one byte.
    U3 = "u3", "uint3", None, 8;
    /// A shell dtype of PyTorch: a 4-bit unsigned integer in one byte.
    U4 = "u4", "uint4", None, 8;
    /// A shell dtype of PyTorch: a 5-bit unsigned integer in one byte.
    U5 = "u5", "uint5", None, 8;
    /// A shell dtype of PyTorch: a 6-bit unsigned integer in one byte.
    U6 = "u6", "uint6", None, 8;
    /// A shell dtype of PyTorch: a 7-bit unsigned integer in one byte.
    U7 = "u7", "uint7", None, 8;
    /// A shell dtype of PyTorch: a 1-bit signed integer in one byte.
    I1 = "i1", "int1", None, 8;
    /// A shell dtype of PyTorch: a 2-bit signed integer in one byte.
    I2 = "i2", "int2", None, 8;
    /// A shell dtype of PyTorch: a 3-bit signed integer in one byte.
    I3 = "i3", "int3", None, 8;
    /// A shell dtype of PyTorch: a 4-bit signed integer in one byte.
    I4 = "i4", "int4", None, 8;
    /// A shell dtype of PyTorch: a 5-bit signed integer in one byte.
    I5 = "i5", "int5", None, 8;
    /// A shell dtype of PyTorch: a 6-bit signed integer in one byte.
    I6 = "i6", "int6", None, 8;
    /// A shell dtype of PyTorch: a 7-bit signed integer in one byte.
    I7 = "i7", "int7", None, 8;
}

impl Dtype {
    /// Finds a type by the project's short name.
    ///
    /// ```
    /// use ckpt::Dtype;
    /// assert_eq!(Dtype::from_short_name("bf16"), Some(Dtype::Bf16));
    /// ```
    pub fn from_short_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.as_str() == name)
    }

    /// Finds a type by PyTorch's name, without the `torch.` before it.
    pub fn from_torch_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.torch_name() == name)
    }

    /// Finds a type by its safetensors name.
    pub fn from_safetensors_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.safetensors_name() == Some(name))
    }

    /// Returns whether tensors of this type can have gradients: floats and complex numbers.
    pub fn is_differentiable(self) -> bool {
        use Dtype::{Bf16, C32, C64, C128, F16, F32, F64};
        let small_float = self.as_str().starts_with("f8") || self.as_str().starts_with("f4");
        small_float || matches!(self, F16 | Bf16 | F32 | F64 | C32 | C64 | C128)
    }

    /// Returns the size in bytes of `count` elements; `None` where that is more than 2⁶⁴, or, for a
    /// type below a byte, no whole number of bytes.
    ///
    /// ```
    /// use ckpt::Dtype;
    /// assert_eq!(Dtype::F32.bytes_for(3), Some(12));
    /// assert_eq!(Dtype::F4.bytes_for(3), None);
    /// ```
    pub fn bytes_for(self, count: u64) -> Option<u64> {
        let bits = u128::from(count) * u128::from(self.bits());
        if bits % 8 == 0 { u64::try_from(bits / 8).ok() } else { None }
    }

    /// Returns the size in bytes of a tensor of `count` elements: as [`Dtype::bytes_for`], but for the
    /// quantized types of which several elements share a byte. PyTorch counts their storages in bytes,
    /// and their tensors in elements.
    ///
    /// ```
    /// use ckpt::Dtype;
    /// assert_eq!(Dtype::F32.tensor_bytes(3), Some(12));
    /// assert_eq!(Dtype::QU4x2.tensor_bytes(3), Some(2));
    /// ```
    pub fn tensor_bytes(self, count: u64) -> Option<u64> {
        match self.elements_per_byte() {
            1 => self.bytes_for(count),
            several => Some(count.div_ceil(several)),
        }
    }

    /// Returns how many elements of a quantized tensor share a byte: 1 for all other types.
    pub(crate) fn elements_per_byte(self) -> u64 {
        match self {
            Self::QU4x2 => 2,
            Self::QU2x4 => 4,
            _ => 1,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
