//! `ckpt stage status`.

use std::io::{self, Write};

use jiff::Timestamp;

use super::nothing;
use crate::cli::args::StageStatusArgs;
use crate::cli::exit::{Outcome, Stop};
use crate::cli::output::{buffered, json};
use crate::cli::talk;
use crate::cli::text::{age, count, duration, size, visible};
use crate::error::ErrorKind;
use crate::pipeline::Pipeline;
use crate::record::{FileRecord, PipelineState, StageRecord, StageStatus};

/// Shows the state of a pipeline.
pub(super) fn run(args: &StageStatusArgs) -> Result<Outcome, Stop> {
    let state = match Pipeline::read(&args.pipeline) {
        Ok(Some(state)) => state,
        Ok(None) => return Ok(nothing(&args.pipeline)),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Incompatible) => {
            talk("error", &error.to_string());
            return Ok(Outcome::NotValid);
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = buffered(io::stdout().lock());
    if args.json {
        json::line(&mut out, &state)?;
    } else {
        table(&mut out, &state, Timestamp::now())?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Writes a line per stage, and what there is to say of it beneath.
fn table(out: &mut impl Write, state: &PipelineState, now: Timestamp) -> io::Result<()> {
    let complete = state.stages_complete.len();
    writeln!(
        out,
        "{}: {}, {complete} of {} complete\n",
        visible(&state.name),
        state.status,
        count(state.stages.len() as u64, "stage")
    )?;
    let wide =
        state.stages.iter().map(|stage| visible(&stage.name).chars().count()).max().unwrap_or(0).max(5);
    writeln!(out, "{:wide$}  {:15}  {:>7}  {:>11}  OUTPUTS", "STAGE", "STATUS", "AGE", "TOOK")?;
    for stage in &state.stages {
        line(out, stage, wide, now)?;
    }
    Ok(())
}

fn line(out: &mut impl Write, stage: &StageRecord, wide: usize, now: Timestamp) -> io::Result<()> {
    let ended = stage.finished.or(stage.started).map_or_else(String::new, |time| age(time, now));
    let outputs: Vec<String> = stage.outputs.iter().map(output).collect();
    let line = format!(
        "{:wide$}  {:15}  {ended:>7}  {:>11}  {}",
        visible(&stage.name),
        stage.status,
        stage.finished.map_or_else(String::new, |_| took(stage.seconds)),
        outputs.join(", ")
    );
    writeln!(out, "{}", line.trim_end())?;
    if let Some(error) = &stage.error {
        let attempts = count(stage.attempts.into(), "attempt");
        writeln!(out, "    error: {} ({attempts})", visible(error))?;
    }
    if stage.status == StageStatus::AwaitingReview {
        writeln!(out, "    it waits for its review: `ckpt stage approve` lets the pipeline go on")?;
    }
    for edit in stage.review.iter().flat_map(|review| &review.edits) {
        writeln!(out, "    edited: {}", visible(&edit.path))?;
    }
    Ok(())
}

/// Returns an output with its size.
fn output(file: &FileRecord) -> String {
    let removed = if file.removed.is_some() { ", removed" } else { "" };
    format!("{} ({}{removed})", visible(&file.path), size(file.bytes))
}

/// Returns how long a stage took. The number is a file's: it may be any.
fn took(seconds: f64) -> String {
    let time = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
