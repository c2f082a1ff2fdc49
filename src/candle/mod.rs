//! candle: its tensors, and those of a `VarMap`, in and out of a state.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{Init, VarMap};
//! use ckpt::State;
//! use ckpt::candle::{restore_var_map, var_map_value};
//! use ckpt::tensor::RestoreOptions;
//!
//! let model = VarMap::new();
//! model.get(2, "layer.bias", Init::Const(0.5), DType::F32, &Device::Cpu)?;
//! let mut state = State::new();
//! state.insert("model", var_map_value(&model)?)?;
//!
//! let other = VarMap::new();
//! let bias = other.get(2, "layer.bias", Init::Const(0.0), DType::F32, &Device::Cpu)?;
//! let restored = restore_var_map(&other, &state, "model", RestoreOptions::default())?;
//! assert_eq!(restored.restored, ["layer.bias"]);
//! assert_eq!(bias.to_vec1::<f32>()?, [0.5, 0.5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What isn't saved
//!
//! - **Optimizers.** `candle_nn::AdamW` lets nobody at its moments and its count of steps: a resume with it begins
//!   with those of a new one, and isn't bit for bit what an uninterrupted run would be. `candle_nn::SGD` has no
//!   state, and goes on exactly. An optimizer of one's own whose moments are tensors or variables is saved as any
//!   tensors are.
//! - **Random numbers.** candle's generators can be seeded and not read.

mod dtype;
mod tensor;
#[cfg(test)]
mod tests;
mod var_map;

pub use tensor::from_bytes;
pub use var_map::{restore_var_map, var_map_value};

use crate::Error;

/// An error of candle's own.
fn failed(doing: &str, error: &candle_core::Error) -> Error {
    Error::usage(format!("candle can't {doing}: {error}"))
}
