use burn_core::tensor::DType;
use burn_core::tensor::quantization::QuantScheme;

use crate::{Dtype, Error};

/// How burn holds truth values on the host.
pub(super) const BOOL: DType = DType::Bool(burn_core::tensor::BoolStore::Native);

/// Returns our type for burn's. Quantized tensors and such whose precision is left to the device have none.
pub(super) fn ours(dtype: DType) -> Result<Dtype, Error> {
    Ok(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::Bf16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool(_) => Dtype::Bool,
        DType::Flex32 => return Err(unknown("flex32: cast the tensor to f32 first")),
        DType::QFloat(scheme) => return Err(quantized(&scheme)),
    })
}

/// Returns burn's type for ours, where it has one.
pub(super) fn theirs(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U16 => DType::U16,
        Dtype::U8 => DType::U8,
        Dtype::Bool => BOOL,
        _ => return None,
    })
}

fn quantized(scheme: &QuantScheme) -> Error {
    unknown(&format!("quantized ({:?}): dequantize the tensor first", scheme.value))
}

fn unknown(what: &str) -> Error {
    Error::usage(format!("no checkpoint holds burn's type {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_agree() {
        for &dtype in Dtype::ALL {
            if let Some(burn) = theirs(dtype) {
                assert_eq!(ours(burn).unwrap(), dtype);
                assert_eq!(burn.size() as u64 * 8, dtype.bits(), "{dtype}");
            }
        }
        assert_eq!(Dtype::ALL.iter().filter_map(|&dtype| theirs(dtype)).count(), 13);
    }

    #[test]
    fn what_has_no_elements_of_its_own_is_refused() {
        let quantized = DType::QFloat(QuantScheme::default());
        for (dtype, word) in [(DType::Flex32, "flex32"), (quantized, "quantized")] {
            let error = ours(dtype).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
