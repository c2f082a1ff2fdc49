//! `ckpt stage`: the steps of a script as the stages of a pipeline.

mod child;
mod cleanup;
mod paths;
mod review;
mod run;
mod status;

use std::path::Path;

use super::args::{StageArgs, StageCommand};
use super::exit::{Outcome, Stop};
use super::{hints, talk};
use crate::error::Error;
use crate::pipeline::{Pipeline, PipelineOptions};

/// What others are told who come meanwhile.
const HOLDER: &str = "ckpt stage";

/// Runs the command of a pipeline.
pub(super) fn run(args: &StageArgs) -> Result<Outcome, Stop> {
    match &args.command {
        StageCommand::Run(args) => run::run(args),
        StageCommand::Status(args) => status::run(args),
        StageCommand::Approve(args) => review::approve(args),
        StageCommand::Reset(args) => review::reset(args),
        StageCommand::Cleanup(args) => cleanup::run(args),
    }
}

/// Opens a pipeline that is there. Where there is none, says so, and how the command ends for it.
fn open(state_file: &Path) -> Result<Result<Pipeline, Outcome>, Stop> {
    if Pipeline::read(state_file)?.is_none() {
        return Ok(Err(nothing(state_file)));
    }
    let options = PipelineOptions::default().with_holder(HOLDER);
    let pipeline = Pipeline::open_known(state_file, options)?;
    say_notices(&pipeline);
    Ok(Ok(pipeline))
}

/// Says that there is no pipeline, and how the command ends for it.
fn nothing(state_file: &Path) -> Outcome {
    talk("error", &Error::nothing(state_file, "there is no such state file").to_string());
    talk("hint", hints::NO_PIPELINE);
    Outcome::Directory
}

/// Says what was found when a pipeline was opened.
fn say_notices(pipeline: &Pipeline) {
    for notice in pipeline.notices() {
        talk("note", &notice.to_string());
    }
}
