//! Elements as numbers.
//!
//! Only elements whose bits differ come here, one by one, so that exactness counts for more than speed: small
//! floats are read by their definition (IEEE 754; the OCP specifications of 8-bit and of microscaled floats;
//! "8-bit numerical formats for deep neural networks" for the kinds without a negative zero).
//! 64-bit integers are subtracted as integers, and the difference is then rounded.

use crate::Dtype;

/// How far two elements are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Apart {
    /// Two finite numbers, by their absolute difference.
    By(f64),
    /// Both are NaN.
    BothNan,
    /// There is no number for it: one is NaN or infinite, or the type is no number.
    NoNumber,
}

/// How the bytes of an element are read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A float of 8 or 16 bits.
    Small(SmallFloat),
    F32,
    F64,
    Signed,
    Unsigned,
    /// Two floats of half the size.
    Complex(Dtype),
    /// Not known as a number.
    Opaque,
}

/// A float by its definition: a sign bit, then the exponent, then the mantissa.
#[derive(Clone, Copy, Debug, PartialEq)]
struct SmallFloat {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    special: Special,
}

/// What the bits at the end of a float's range mean.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Special {
    /// The largest exponent is infinity, or NaN with any bit of the mantissa.
    Ieee,
    /// All bits but the sign are NaN; there is no infinity.
    AllOnes,
    /// What would be the negative zero is NaN; there is no infinity.
    NegativeZero,
    /// No sign and no mantissa: a power of two, and all bits are NaN.
    PowerOfTwo,
}

/// Elements of one type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// The size of one in bytes; 1 where several share a byte.
    pub(super) size: usize,
    kind: Kind,
}

impl Numbers {
    /// Says how the elements of a type are read.
    pub(super) fn of(dtype: Dtype) -> Self {
        let kind = kind(dtype);
        let size = match dtype.bits() {
            bits if bits % 8 == 0 => usize::try_from(bits / 8).unwrap_or(1).max(1),
            _ => 1,
        };
        Self { size, kind }
    }

    /// Returns whether an element is one of the tensor's: not where several share a byte.
    pub(super) fn are_elements(dtype: Dtype) -> bool {
        dtype.bits().is_multiple_of(8) && dtype.elements_per_byte() == 1
    }

    /// Returns how far two elements, whose bits differ, are apart.
    pub(super) fn apart(self, one: &[u8], other: &[u8]) -> Apart {
        match self.kind {
            Kind::Opaque => Apart::NoNumber,
            Kind::Signed => match (signed(one), signed(other)) {
                (Some(one), Some(other)) => Apart::By(one.abs_diff(other).to_f64()),
                _ => Apart::NoNumber,
            },
            Kind::Unsigned => match (unsigned(one), unsigned(other)) {
                (Some(one), Some(other)) => Apart::By(one.abs_diff(other).to_f64()),
                _ => Apart::NoNumber,
            },
            Kind::Complex(part) => complex(Self::of(part), one, other),
            Kind::Small(_) | Kind::F32 | Kind::F64 => match (self.float(one), self.float(other)) {
                (Some(one), Some(other)) => floats(one, other),
                _ => Apart::NoNumber,
            },
        }
    }

    /// Reads a float.
    fn float(self, bytes: &[u8]) -> Option<f64> {
        match self.kind {
            Kind::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?).into()),
            Kind::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
            Kind::Small(float) => match *bytes {
                [byte] => Some(float.value(byte.into())),
                [low, high] => Some(float.value(u16::from_le_bytes([low, high]).into())),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Returns the kind of a type's numbers. What PyTorch calls bits, and what shares a byte, is none.
fn kind(dtype: Dtype) -> Kind {
    use Dtype::{
        Bf16, Bool, C32, C64, C128, F8E4m3fn, F8E4m3fnuz, F8E5m2, F8E5m2fnuz, F8E8m0fnu, F16, F32, F64, I8,
        I16, I32, I64, QI8, QI32, QU8, U8, U16, U32, U64,
    };
    let small = |exponent_bits, mantissa_bits, bias, special| {
        Kind::Small(SmallFloat { exponent_bits, mantissa_bits, bias, special })
    };
    match dtype {
        F32 => Kind::F32,
        F64 => Kind::F64,
        F16 => small(5, 10, 15, Special::Ieee),
        Bf16 => small(8, 7, 127, Special::Ieee),
        F8E5m2 => small(5, 2, 15, Special::Ieee),
        F8E4m3fn => small(4, 3, 7, Special::AllOnes),
        F8E5m2fnuz => small(5, 2, 16, Special::NegativeZero),
        F8E4m3fnuz => small(4, 3, 8, Special::NegativeZero),
        F8E8m0fnu => small(8, 0, 127, Special::PowerOfTwo),
        I8 | I16 | I32 | I64 | QI8 | QI32 => Kind::Signed,
        Bool | U8 | U16 | U32 | U64 | QU8 => Kind::Unsigned,
        C32 => Kind::Complex(F16),
        C64 => Kind::Complex(F32),
        C128 => Kind::Complex(F64),
        _ => Kind::Opaque,
    }
}

impl SmallFloat {
    /// Returns the value of a float's bits.
    fn value(self, bits: u32) -> f64 {
        let Self { exponent_bits, mantissa_bits, bias, special } = self;
        let ones = |count: u32| (1_u32 << count) - 1;
        let exponent = (bits >> mantissa_bits) & ones(exponent_bits);
        let mantissa = bits & ones(mantissa_bits);
        let is_negative = bits >> (mantissa_bits + exponent_bits) == 1;
        let is_highest = exponent == ones(exponent_bits);
        let power = |exponent: u32| 2_f64.powi(i32::try_from(exponent).unwrap_or_default() - bias);
        match special {
            Special::Ieee if is_highest && mantissa > 0 => return f64::NAN,
            Special::Ieee if is_highest => {
                return if is_negative { f64::NEG_INFINITY } else { f64::INFINITY };
            }
            Special::AllOnes if is_highest && mantissa == ones(mantissa_bits) => return f64::NAN,
            Special::NegativeZero if is_negative && exponent == 0 && mantissa == 0 => return f64::NAN,
            Special::PowerOfTwo if is_highest => return f64::NAN,
            Special::PowerOfTwo => return power(exponent),
            _ => {}
        }
        let fraction = f64::from(mantissa) / f64::from(1_u32 << mantissa_bits);
        let value = if exponent == 0 { fraction * power(1) } else { (1.0 + fraction) * power(exponent) };
        if is_negative { -value } else { value }
    }
}

/// Returns how far two floats are apart.
pub(super) fn floats(one: f64, other: f64) -> Apart {
    match (one.is_nan(), other.is_nan()) {
        (true, true) => Apart::BothNan,
        (false, false) if one.is_finite() && other.is_finite() => Apart::By((one - other).abs()),
        _ => Apart::NoNumber,
    }
}

/// Returns how far two complex numbers are apart: by the modulus of the difference.
fn complex(part: Numbers, one: &[u8], other: &[u8]) -> Apart {
    let parts = one.chunks_exact(part.size).zip(other.chunks_exact(part.size));
    let mut sum: Option<f64> = Some(0.0);
    let mut is_nan = [false; 2];
    for (one, other) in parts {
        let (Some(a), Some(b)) = (part.float(one), part.float(other)) else { return Apart::NoNumber };
        is_nan = [is_nan[0] || a.is_nan(), is_nan[1] || b.is_nan()];
        sum = match floats(a, b) {
            // Two equal infinities don't count.
            _ if one == other => sum,
            Apart::By(difference) => sum.map(|sum| sum.hypot(difference)),
            Apart::BothNan | Apart::NoNumber => None,
        };
    }
    match (is_nan, sum) {
        ([true, true], _) => Apart::BothNan,
        ([false, false], Some(modulus)) => Apart::By(modulus),
        _ => Apart::NoNumber,
    }
}

/// Reads a signed integer of up to eight bytes.
fn signed(bytes: &[u8]) -> Option<i64> {
    let mut wide = [if bytes.last()? >> 7 == 1 { 0xff } else { 0 }; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

/// Reads an unsigned integer of up to eight bytes.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

/// The nearest float of a difference.
trait ToF64 {
    fn to_f64(self) -> f64;
}

impl ToF64 for u64 {
    fn to_f64(self) -> f64 {
        let half = |word: Self| f64::from(u32::try_from(word).unwrap_or(u32::MAX));
        half(self >> 32) * 4_294_967_296.0 + half(self & Self::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(dtype: Dtype, bits: u16) -> f64 {
        let numbers = Numbers::of(dtype);
        numbers.float(&bits.to_le_bytes()[..numbers.size]).unwrap()
    }

    #[test]
    fn small_floats_are_as_they_are_defined() {
        use Dtype::{Bf16, F8E4m3fn, F8E4m3fnuz, F8E5m2, F8E5m2fnuz, F8E8m0fnu, F16};
        for (dtype, bits, expected) in [
            (F16, 0x3c00, 1.0),
            (F16, 0xc000, -2.0),
            (F16, 0x0001, 2_f64.powi(-24)),
            (F16, 0x7bff, 65504.0),
            (F16, 0x7c00, f64::INFINITY),
            (F16, 0xfc00, f64::NEG_INFINITY),
            (F8E4m3fn, 0x7e, 448.0),
            (F8E4m3fn, 0x01, 2_f64.powi(-9)),
            (F8E4m3fn, 0xb8, -1.0),
            (F8E5m2, 0x7b, 57344.0),
            (F8E5m2, 0x7c, f64::INFINITY),
            (F8E5m2, 0x01, 2_f64.powi(-16)),
            (F8E4m3fnuz, 0x7f, 240.0),
            (F8E4m3fnuz, 0x40, 1.0),
            (F8E5m2fnuz, 0x7f, 57344.0),
            (F8E5m2fnuz, 0x40, 1.0),
            (F8E8m0fnu, 127, 1.0),
            (F8E8m0fnu, 0, 2_f64.powi(-127)),
        ] {
            assert!(
                value(dtype, bits).to_bits() == expected.to_bits(),
                "{dtype} {bits:#x}: {}",
                value(dtype, bits)
            );
        }
        for (dtype, bits) in [
            (F16, 0x7c01),
            (F8E4m3fn, 0x7f),
            (F8E4m3fn, 0xff),
            (F8E5m2, 0x7d),
            (F8E4m3fnuz, 0x80),
            (F8E5m2fnuz, 0x80),
            (F8E8m0fnu, 255),
        ] {
            assert!(value(dtype, bits).is_nan(), "{dtype} {bits:#x}");
        }
        for bits in 0..=u16::MAX {
            let expected = f32::from_bits(u32::from(bits) << 16);
            let value = value(Bf16, bits);
            let is_same = value.to_bits() == f64::from(expected).to_bits();
            assert!(is_same || value.is_nan() && expected.is_nan(), "{bits:#x}");
        }
    }

    #[test]
    fn every_type_has_a_difference_or_is_known_to_have_none() {
        for &dtype in Dtype::ALL {
            let numbers = Numbers::of(dtype);
            let (one, mut other) = (vec![0; numbers.size], vec![0; numbers.size]);
            other[0] = 1;
            let is_number = !dtype.as_str().starts_with("bits")
                && Numbers::are_elements(dtype)
                && !matches!(dtype, Dtype::F4x2)
                && !(dtype.bits() == 8
                    && (dtype.torch_name().starts_with("uint") || dtype.torch_name().starts_with("int"))
                    && !matches!(dtype, Dtype::U8 | Dtype::I8));
            let apart = numbers.apart(&one, &other);
            assert_eq!(matches!(apart, Apart::By(by) if by > 0.0), is_number, "{dtype}: {apart:?}");
        }
    }

    #[test]
    fn differences_are_exact_at_the_ends() {
        let apart = |dtype, one: &[u8], other: &[u8]| Numbers::of(dtype).apart(one, other);
        assert_eq!(
            apart(Dtype::I64, &i64::MIN.to_le_bytes(), &0_i64.to_le_bytes()),
            Apart::By(2_f64.powi(63))
        );
        assert_eq!(apart(Dtype::I8, &[0xff], &[0x7f]), Apart::By(128.0));
        assert_eq!(
            apart(Dtype::U64, &u64::MAX.to_le_bytes(), &0_u64.to_le_bytes()),
            Apart::By(2_f64.powi(64))
        );
        assert_eq!(apart(Dtype::F32, &0_f32.to_le_bytes(), &(-0_f32).to_le_bytes()), Apart::By(0.0));
        let nan = |bits: u32| bits.to_le_bytes();
        assert_eq!(apart(Dtype::F32, &nan(0x7fc0_0000), &nan(0xffc0_0001)), Apart::BothNan);
        assert_eq!(apart(Dtype::F32, &f32::INFINITY.to_le_bytes(), &0_f32.to_le_bytes()), Apart::NoNumber);
        let pair = |re: f32, im: f32| [re.to_le_bytes(), im.to_le_bytes()].concat();
        assert_eq!(apart(Dtype::C64, &pair(1.0, 2.0), &pair(4.0, 6.0)), Apart::By(5.0));
        let infinite = |im| pair(f32::INFINITY, im);
        assert_eq!(apart(Dtype::C64, &infinite(1.0), &infinite(2.0)), Apart::By(1.0));
        assert_eq!(apart(Dtype::C64, &pair(f32::NAN, 1.0), &pair(1.0, 1.0)), Apart::NoNumber);
        assert_eq!(apart(Dtype::F4, &[1], &[2]), Apart::NoNumber);
    }
}
