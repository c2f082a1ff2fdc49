//! How two checkpoints differ.
//!
//! Both are opened as states whose bytes are read when they are looked at. Values are paired by the keys that
//! lead to them (`items`), plain ones compared at once (`plain`), tensors window by window by a few threads
//! (`elements`), as numbers where their bits differ (`numbers`).

mod elements;
mod items;
mod numbers;
mod options;
mod plain;
mod run;

pub use options::DiffOptions;
pub use run::diff;
