//! `ckpt verify`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::args::VerifyArgs;
use super::exit::{Outcome, Stop};
use super::failures::Failures;
use super::output::{self, Output, Summary};
use super::progress::Progress;
use super::{hints, talk};
use crate::error::Error;
use crate::record::{Level, TensorInfo};
use crate::validate::{
    Batch, Candidate, Discovery, Look, Requirement, VerifyOptions, discover, inspect, parse_requirements,
};

/// Checks what is at the paths, and reports.
pub(super) fn run(args: &VerifyArgs) -> Result<Outcome, Stop> {
    let started = Instant::now();
    let options = options(args)?;
    let mut output = output::open(args)?;
    let look = if args.skip_checkpoint_validation { Look::Names } else { Look::Contents };
    let Discovery { candidates, problems } = discover(&args.paths, look);
    for problem in &problems {
        talk("error", &problem.to_string());
        talk("hint", hints::for_directory(problem.kind()));
    }
    let mut failures = Failures::read(&candidates, args.log_failures);
    let mut summary = Summary::default();
    let checked = check(args, candidates, options, &mut *output, &mut failures, &mut summary);
    failures.write();
    checked?;
    summary.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.finish(&summary, &problems)?;
    Ok(outcome(&summary, &problems))
}

/// Checks the candidates, and gives each report to the outputs in its turn.
fn check(
    args: &VerifyArgs,
    candidates: Vec<Candidate>,
    mut options: VerifyOptions,
    output: &mut dyn Output,
    failures: &mut Failures,
    summary: &mut Summary,
) -> Result<(), Stop> {
    let candidates: Arc<[Candidate]> = candidates.into();
    let mut progress = Progress::start(args, &candidates);
    options.progress = progress.sink();
    for (candidate, report) in candidates.iter().zip(Batch::new(Arc::clone(&candidates), options)) {
        summary.add(&report);
        failures.add(candidate, &report);
        progress.report(report.is_valid(), || output.report(report, failures.past(candidate)))?;
    }
    Ok(())
}

/// Decides the exit code: a directory that is the problem outranks a checkpoint that is not valid.
fn outcome(summary: &Summary, problems: &[Error]) -> Outcome {
    if !problems.is_empty() {
        Outcome::Directory
    } else if summary.valid < summary.checkpoints {
        Outcome::NotValid
    } else {
        Outcome::Done
    }
}

/// Turns the arguments into the options of the check.
fn options(args: &VerifyArgs) -> Result<VerifyOptions, Stop> {
    let mut options = VerifyOptions::default();
    options.requirements = requirements(args)?;
    options.like = args.like.as_deref().map(reference).transpose()?;
    options.level = level(args, &options)?;
    options.skip_contents = args.skip_checkpoint_validation;
    options.require_marker = args.require_marker;
    options.allowed_globals.clone_from(&args.allow_global);
    options.compat = args.compat;
    options.threads = args.jobs.map_or(options.threads, usize::from);
    Ok(options)
}

/// The level that was asked for, or the one that the other options need.
fn level(args: &VerifyArgs, options: &VerifyOptions) -> Result<Level, Stop> {
    let needs_keys = !options.requirements.is_empty() || options.like.is_some() || args.compat;
    match args.level {
        Some(level) if needs_keys && level < Level::Keys => {
            let message =
                format!("level {level} stops before the keys that --require, --like and --compat ask for");
            Err(Error::usage(message).into())
        }
        Some(level) => Ok(level),
        None if args.skip_checkpoint_validation => Ok(Level::Size),
        None if args.skip_load => Ok(Level::Container),
        None if needs_keys => Ok(Level::Keys),
        None => Ok(options.level),
    }
}

/// Gathers the required keys of the command line and of files.
fn requirements(args: &VerifyArgs) -> Result<Vec<Requirement>, Stop> {
    let mut requirements = args.require.clone();
    for path in &args.require_file {
        let text =
            fs::read_to_string(path).map_err(|error| Error::io(path, "read the requirements", error))?;
        let parsed = parse_requirements(&text)
            .map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
        if parsed.is_empty() {
            return Err(Error::usage(format!("{}: no requirement in it", path.display())).into());
        }
        requirements.extend(parsed);
    }
    Ok(requirements)
}

/// Reads the tensors of the reference checkpoint.
fn reference(path: &Path) -> Result<Arc<Vec<TensorInfo>>, Stop> {
    Ok(Arc::new(inspect(path)?.tensors))
}
