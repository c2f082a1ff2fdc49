//! `ckpt stage cleanup`.

use std::io::{self, Write};

use serde::Serialize;

use super::open;
use crate::cli::args::StageCleanupArgs;
use crate::cli::exit::{Outcome, Stop};
use crate::cli::output::{Document, buffered};
use crate::cli::text::{count, size, visible};
use crate::pipeline::CleanupPlan;
use crate::record::{CLEANUP_SCHEMA, CleanupEntry};

/// Plans which outputs may go, and removes them where that is asked for.
pub(super) fn run(args: &StageCleanupArgs) -> Result<Outcome, Stop> {
    let mut pipeline = match open(&args.pipeline)? {
        Ok(pipeline) => pipeline,
        Err(outcome) => return Ok(outcome),
    };
    let plan = pipeline.plan_cleanup();
    let removed = if args.apply { pipeline.clean_up(&plan)?.len() } else { 0 };
    let mut out = buffered(io::stdout().lock());
    if args.json {
        let mut document = Document::of(out, CLEANUP_SCHEMA, "files");
        plan.files.iter().try_for_each(|file| document.add(file))?;
        document.end(&Summary::of(args, &plan, removed), &[])?;
    } else {
        table(&mut out, args, &plan, removed)?;
        out.flush()?;
    }
    Ok(Outcome::Done)
}

/// What holds for a plan as a whole.
#[derive(Debug, Serialize)]
struct Summary {
    applied: bool,
    files: usize,
    remove: usize,
    bytes: u64,
    removed: usize,
}

impl Summary {
    fn of(args: &StageCleanupArgs, plan: &CleanupPlan, removed: usize) -> Self {
        let (files, remove) = (plan.files.len(), plan.removals().count());
        Self { applied: args.apply, files, remove, bytes: plan.freed_bytes(), removed }
    }
}

/// Writes a line per output: what becomes of it, and why.
fn table(
    out: &mut impl Write,
    args: &StageCleanupArgs,
    plan: &CleanupPlan,
    removed: usize,
) -> io::Result<()> {
    for CleanupEntry { stage, path, bytes, remove, reason, .. } in &plan.files {
        let action = if *remove { "remove" } else { "keep  " };
        let (path, stage, reason) = (visible(path), visible(stage), visible(&reason.to_string()));
        writeln!(out, "{action}  {:>10}  {path}  ({stage}): {reason}", size(*bytes))?;
    }
    let (all, go) = (count(plan.files.len() as u64, "file"), plan.removals().count());
    let bytes = size(plan.freed_bytes());
    match (go, args.apply) {
        (0, _) => writeln!(out, "\nnothing to remove of {all}"),
        (_, false) => writeln!(out, "\nwould remove {go} of {all}, {bytes}: --apply does it"),
        (_, true) => writeln!(out, "\nremoved {removed} of {all}, {bytes}"),
    }
}
