//! What Python calls, in Rust: the module `ckpt._native`, for the package `ckpt` alone.
//!
//! `state` brings Python's values into a state and back, without a copy of the tensors' bytes (`memory`). The rest is
//! a room for each of the crate's own. Reports and other records go to Python as they are in JSON (`records`).
//! The interpreter is released around everything that reads, writes or hashes.

mod dcp;
mod errors;
mod load;
mod memory;
mod options;
mod records;
mod save;
mod state;
mod verify;

use pyo3::prelude::*;

/// The native half of `ckpt`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::dcp::{
        Staging, load_item, load_item_into, read_item, read_sealed, refuse_existing, save_series, stage,
        verify_bytes, verify_item,
    };
    #[pymodule_export]
    use super::errors::Unfit;
    #[pymodule_export]
    use super::load::{load, load_into};
    #[pymodule_export]
    use super::save::{remove_file, save, save_pickled, write_file};
    #[pymodule_export]
    use super::verify::{inspect, verify, verify_all};
}
