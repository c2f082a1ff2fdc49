//! burn: its tensors, modules and records, in and out of a state. Any backend will do: the adapter brings none.
//!
//! ```no_run
//! use burn_core::module::Module;
//! use burn_core::tensor::backend::Backend;
//! use ckpt::burn::{module_value, restore_module};
//! use ckpt::tensor::RestoreOptions;
//! use ckpt::{Error, LoadOptions, SaveOptions, State, load, save};
//!
//! fn keep<B: Backend, M: Module<B>>(model: &M, path: &std::path::Path) -> Result<(), Error> {
//!     let mut state = State::new();
//!     state.insert("model", module_value(model)?)?;
//!     save(path, &state, &SaveOptions::default()).map(drop)
//! }
//!
//! fn resume<B: Backend, M: Module<B>>(model: &mut M, path: &std::path::Path) -> Result<(), Error> {
//!     let state = load(path, &LoadOptions::default())?;
//!     restore_module(model, &state, "model", RestoreOptions::default()).map(drop)
//! }
//! ```
//!
//! # Optimizers and schedules
//!
//! burn keeps an optimizer's state in a record for each parameter, of types that are the optimizer's own. Each
//! is saved as burn itself encodes it (`MessagePack`, with names), under the name of its parameter: [`optimizer_value`] and [`read_optimizer`].
//! So the elements of the moments are in the file, and proven, and no other program reads them as tensors; a record
//! is read by a version of burn that knows it. A learning rate schedule has one record: [`record_value`] and
//! [`read_record`].
//!
//! burn converts what a record holds: saved are 64-bit numbers, which hold all others exactly, and what is read has
//! the backend's default type.
//!
//! # What isn't saved
//!
//! A backend's random numbers: burn can seed them, and lets nobody read where they stand.

mod dtype;
mod module;
mod record;
mod survey;
mod tensor;

pub use module::{module_value, restore_module};
pub use record::{optimizer_value, read_optimizer, read_record, record_value};
