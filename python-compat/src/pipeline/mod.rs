//! Pipelines: stages, of which none is done twice.

mod front;
mod options;
mod run;

pub(crate) use front::{Pipeline, read_pipeline};
pub(crate) use run::StageRun;
