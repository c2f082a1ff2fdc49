//! Work in stages, of which none is done twice: extract, merge, predict.
//!
//! A pipeline has ordered stages. A finished one is a checkpoint like a training step is, in a run beside the
//! pipeline's state file; that file is the view which people and scripts read. `docs/pipeline.md` has both, and the order in
//! which they are written.
//!
//! [`Pipeline`] is what a program holds: `open` takes the lease and finds out how things stand, `begin` and `complete`
//! are one stage, `review` and `cleanup` what comes after. `look` looks at files, `checkpoints` at what stages became,
//! `migrate` at the state files of others.

mod begin;
mod checkpoints;
mod cleanup;
mod complete;
mod config;
mod front;
mod lease;
mod look;
mod migrate;
mod notice;
mod open;
mod options;
mod place;
mod read;
mod review;
mod run;
mod stage;
mod stale;

pub use cleanup::CleanupPlan;
pub use config::config_digest;
pub use front::{Pipeline, Ran};
pub use notice::{Notice, Why};
pub use options::{OnStale, PipelineOptions};
pub use run::StageRun;
pub use stage::{Approval, Stage};
