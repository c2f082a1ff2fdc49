//! Training loops in `tch`: the variables of a model, the random state, and staging from GPUs.
//!
//! A [`VarStore`](tch::nn::VarStore) becomes a value of a [`State`](crate::State) by [`variables()`], and gets
//! its elements back by [`restore_variables`], all or none of them. [`RandomState`] holds libtorch's generators,
//! so that dropout after a resume is the same. Any [`Tensor`](tch::Tensor) is a
//! [`TensorSource`](crate::tensor::TensorSource).
//!
//! ```
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("model.safetensors");
//! use ckpt::tch::{RandomState, restore_variables, variables};
//! use ckpt::{LoadOptions, SaveOptions, State, load, save};
//! use tch::nn;
//!
//! let mut store = nn::VarStore::new(tch::Device::Cpu);
//! let layer = nn::linear(store.root() / "layer", 4, 2, nn::LinearConfig::default());
//! {
//!     let mut state = State::new();
//!     state.insert("model", variables(&store)?)?;
//!     state.insert("random", RandomState::capture()?)?;
//!     save(&path, &state, &SaveOptions::default())?;
//! }
//! // … and in another process, with the same model:
//! let state = load(&path, &LoadOptions::default())?;
//! let restored = restore_variables(&mut store, &state, "model", Default::default())?;
//! assert_eq!(restored.restored, ["layer.bias", "layer.weight"]);
//! RandomState::from_state(&state, "random")?.restore()?;
//! # drop(layer);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What may not happen meanwhile
//!
//! Tensors of the host aren't copied into a state: it has their memory. A state is a snapshot once it is saved,
//! or staged by a background save; until then nobody may write to the tensors or resize them. A training loop that
//! builds the state, saves it and then goes on can't get that wrong, because the optimizer runs on the same
//! thread.

pub mod arithmetic;
mod device;
mod ffi;
mod kind;
pub mod optimizer;
mod random;
mod snapshot;
mod tensor;
#[cfg(test)]
mod tests;
mod variables;

pub use optimizer::{Adam, Group, Optimizer, Rule, Sgd};
pub use random::RandomState;
pub use snapshot::{Part, Prepared, Restoring, Snapshot};
pub use tensor::view;
pub use variables::{restore_variables, variables};
