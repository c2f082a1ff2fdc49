use candle_core::DType;

use crate::{Dtype, Error};

/// Returns our type for candle's. Those that candle has a name for, and no size of an element, have none.
pub(super) fn ours(dtype: DType) -> Result<Dtype, Error> {
    Ok(match dtype {
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::BF16 => Dtype::Bf16,
        DType::F16 => Dtype::F16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F8E4M3 => Dtype::F8E4m3fn,
        DType::F8E8M0 => Dtype::F8E8m0fnu,
        other => {
            let message = format!("candle's type {} has no elements that could be saved", other.as_str());
            return Err(Error::usage(message));
        }
    })
}

/// Returns candle's type for ours, where it has one. Truth values are bytes to candle.
pub(super) fn theirs(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::U8 | Dtype::Bool => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::Bf16 => DType::BF16,
        Dtype::F16 => DType::F16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F8E4m3fn => DType::F8E4M3,
        Dtype::F8E8m0fnu => DType::F8E8M0,
        _ => return None,
    })
}
