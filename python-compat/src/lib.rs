//! What Python calls, in Rust: the module `ckpt._native`, for the package `ckpt` alone.
//!
//! `state` brings Python's values into a state and back, without a copy of the tensors' bytes (`memory`; `device` for
//! what lies on an accelerator). The rest is a room for each of the crate's own. Reports and other records go to Python as they are in JSON (`records`).
//! The interpreter is released around everything that reads, writes or hashes.

mod collector;
mod compat;
mod dcp;
mod device;
mod errors;
mod features;
mod interrupt;
mod load;
mod manager;
mod memory;
mod options;
mod pipeline;
mod place;
mod records;
mod retention;
mod save;
mod seal;
mod state;
mod verify;

use pyo3::prelude::*;

/// The native half of `ckpt`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::compat::{check_version, describe, is_zip, log_failure, logged_failures, mark_done};
    #[pymodule_export]
    use super::dcp::{
        Staging, load_item, load_item_into, read_item, read_sealed, refuse_existing, save_series, stage,
        verify_bytes,
    };
    #[pymodule_export]
    use super::errors::Unfit;
    #[pymodule_export]
    use super::features::{
        Extraction, ShardWriter, aggregate, extraction_manifest, extraction_todo, merge, merge_all, pairs_in,
        stalled_ranks,
    };
    #[pymodule_export]
    use super::load::{load, load_into};
    #[pymodule_export]
    use super::manager::{Manager, Ticket};
    /// The exit code of a job that saved a last time, and wants to be started again.
    #[pymodule_export]
    const EXIT_REQUEUE: u8 = ckpt::manager::triggers::EXIT_REQUEUE;
    #[pymodule_export]
    use super::pipeline::{Pipeline, StageRun, read_pipeline};
    #[pymodule_export]
    use super::place::{Place, sync_directory};
    #[pymodule_export]
    use super::retention::plan_retention;
    #[pymodule_export]
    use super::save::{remove_file, save, save_pickled, write_file};
    #[pymodule_export]
    use super::seal::{seal, verify_sealed};
    #[pymodule_export]
    use super::verify::{inspect, verify, verify_all};
}
