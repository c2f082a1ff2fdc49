//! `ckpt stage approve` and `ckpt stage reset`.

use super::open;
use crate::cli::args::{StageApproveArgs, StageResetArgs};
use crate::cli::exit::{Outcome, Stop};
use crate::cli::talk;
use crate::pipeline::Approval;

/// Approves a stage, and says what was edited.
pub(super) fn approve(args: &StageApproveArgs) -> Result<Outcome, Stop> {
    let mut pipeline = match open(&args.pipeline)? {
        Ok(pipeline) => pipeline,
        Err(outcome) => return Ok(outcome),
    };
    let mut approval = Approval::default();
    approval.by.clone_from(&args.by);
    approval.note.clone_from(&args.note);
    for edit in pipeline.approve(&args.name, approval)? {
        talk("edited", &format!("{}: its digest was {}, and is {}", edit.path, edit.before, edit.after));
    }
    Ok(Outcome::Done)
}

/// Has a stage and all later ones done anew.
pub(super) fn reset(args: &StageResetArgs) -> Result<Outcome, Stop> {
    let mut pipeline = match open(&args.pipeline)? {
        Ok(pipeline) => pipeline,
        Err(outcome) => return Ok(outcome),
    };
    pipeline.reset(&args.name)?;
    Ok(Outcome::Done)
}
