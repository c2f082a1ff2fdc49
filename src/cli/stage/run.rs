//! `ckpt stage run`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::child::{self, Ended};
use super::paths::from_state;
use super::{HOLDER, say_notices};
use crate::cli::args::StageRunArgs;
use crate::cli::exit::{Outcome, Stop};
use crate::cli::{hints, talk, text};
use crate::error::Error;
use crate::pipeline::{Pipeline, PipelineOptions, Ran, Stage, StageRun};
use crate::record::Lifetime;

/// A configuration is far smaller than this, in bytes.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// Runs the command, if its stage isn't complete.
pub(super) fn run(args: &StageRunArgs) -> Result<Outcome, Stop> {
    let Some((program, words)) = args.command.split_first() else {
        return Err(Error::usage("name a command behind --").into());
    };
    let mut pipeline = open(args)?;
    say_notices(&pipeline);
    if let Some(waiting) = pipeline.awaiting_review() {
        return Ok(paused(args, waiting));
    }
    pipeline.add(stage(args)?)?;
    let why = pipeline.why(&args.name)?;
    let Some(mut run) = pipeline.begin(&args.name)? else {
        if !args.quiet {
            talk("skipped", &format!("{}: it is complete, and its outputs are as it left them", args.name));
        }
        return Ok(Outcome::Done);
    };
    if let Some(why) = why.filter(|_| !args.quiet) {
        talk("running", &format!("{}: {why}", args.name));
    }
    // A stage whose input is missing has failed, as its command would.
    if let Err(stop) = prepare(args, &mut run) {
        pipeline.fail(run, &stop_text(&stop))?;
        return Err(stop);
    }
    pipeline.hand_down_lease()?;
    end(args, &mut pipeline, run, program, words)
}

/// Runs the command, and ends the stage as it ended.
fn end(
    args: &StageRunArgs,
    pipeline: &mut Pipeline,
    run: StageRun,
    program: &OsStr,
    words: &[std::ffi::OsString],
) -> Result<Outcome, Stop> {
    let ended = child::run(program, words);
    if let Ended::Well = ended {
        return match pipeline.complete(run)? {
            Ran::AwaitingReview => Ok(paused(args, &args.name)),
            _ => Ok(Outcome::Done),
        };
    }
    let why = ended.to_string();
    pipeline.fail(run, &why)?;
    talk("failed", &format!("{}: {why}", args.name));
    Ok(Outcome::Command(ended.code()))
}

/// Opens the pipeline. A stale state is refused with what can be done about it.
fn open(args: &StageRunArgs) -> Result<Pipeline, Stop> {
    let mut options = PipelineOptions::default().with_holder(format!("{HOLDER} run {}", args.name));
    options.level = args.level.unwrap_or(options.level);
    if let Some(source) = &args.source {
        options = options.with_source(from_state(&args.pipeline, source)?);
    }
    if let Some(path) = &args.config {
        options = options.with_config(&config(path)?)?;
    }
    if args.force_restart {
        options = options.with_force_restart();
    }
    if args.force_resume {
        options = options.with_force_resume();
    }
    Ok(Pipeline::open_known(&args.pipeline, options)?)
}

/// Reads the configuration.
fn config(path: &Path) -> Result<serde_json::Value, Stop> {
    use std::io::Read as _;
    let read = || {
        let mut text = Vec::new();
        std::fs::File::open(path)?.take(MAX_CONFIG_BYTES).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error| Error::io(path, "read the configuration", error))?;
    let config = serde_json::from_slice(&text);
    Ok(config.map_err(|error| Error::usage(format!("the configuration is no JSON: {error}")).at(path))?)
}

/// Describes the stage as the arguments do.
fn stage(args: &StageRunArgs) -> Result<Stage, Stop> {
    let words = args.command.iter().map(|word| word.to_string_lossy().into_owned());
    let mut stage = Stage::new(args.name.as_str()).with_command(words);
    if args.review {
        stage = stage.with_review();
    }
    for input in &args.input {
        stage = stage.with_input(from_state(&args.pipeline, input)?);
    }
    for (output, _) in outputs(args) {
        stage = stage.with_output(from_state(&args.pipeline, output)?);
    }
    Ok(stage)
}

/// Returns the outputs that the arguments name, each with its lifetime.
fn outputs(args: &StageRunArgs) -> impl Iterator<Item = (&PathBuf, Lifetime)> {
    let kept = args.output.iter().map(|path| (path, Lifetime::Keep));
    let temporary = args.temporary.iter().map(|path| (path, Lifetime::UntilCompleted));
    let intermediate = args.intermediate.iter().map(|path| (path, Lifetime::UntilConsumed));
    kept.chain(temporary).chain(intermediate)
}

/// Says what the stage reads and is to leave.
fn prepare(args: &StageRunArgs, run: &mut StageRun) -> Result<(), Stop> {
    for input in &args.input {
        run.input(from_state(&args.pipeline, input)?)?;
    }
    for (output, lifetime) in outputs(args) {
        run.output_with(from_state(&args.pipeline, output)?, lifetime)?;
    }
    for (name, value) in &args.value {
        run.value(name.as_str(), value)?;
    }
    for (name, amount) in &args.cost {
        run.cost(name.as_str(), *amount);
    }
    Ok(())
}

/// Says that the pipeline is paused, and what is to be done.
fn paused(args: &StageRunArgs, waiting: &str) -> Outcome {
    talk("paused", &format!("{waiting} waits for its review"));
    let (stage, file) = (shell_word(waiting), shell_word(&text::visible_path(&args.pipeline)));
    talk("hint", &format!("{}`ckpt stage approve {stage} --pipeline {file}`", hints::REVIEW));
    Outcome::Paused
}

/// Returns a text as a shell takes it for one word.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@%+,".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns why the command stopped.
fn stop_text(stop: &Stop) -> String {
    match stop {
        Stop::Failed(message) => message.clone(),
        Stop::ReaderGone => "the reader of the output went away".to_owned(),
    }
}
