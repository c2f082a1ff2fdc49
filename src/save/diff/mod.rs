//! How two checkpoints differ.
//!
//! Both are opened as states whose bytes are read when they are looked at. Values are paired by the keys that
//! lead to them (`items`), plain ones compared at once (`plain`), tensors window by window by a few threads
//! (`elements`), as numbers where their bits differ (`numbers`).
//!
//! | two values | are equal if |
//! |---|---|
//! | tensors | dtype, shape and the bits of all elements are, and how they are read: conjugated, negated |
//! | quantized tensors | their integers are, and scale and zero point |
//! | sparse and nested tensors | their layout is, and the tensors that they are made of |
//! | floats, alone or in a tensor | their bits are; with a tolerance, their difference is within it |
//! | lists, tuples, sets | they are of one kind and of one length; their items stand by themselves |
//! | maps | always; their entries stand by themselves, and the keys are on one side or on both |
//! | other values | kind and value are |
//!
//! Whether keys are nested or joined by dots makes no difference: one of the formats has no nesting.

mod elements;
mod items;
mod numbers;
mod options;
mod plain;
mod run;

pub use options::DiffOptions;
pub use run::diff;
