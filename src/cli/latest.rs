//! `ckpt latest`.

use std::io::{self, Write};

use super::args::LatestArgs;
use super::exit::{Outcome, Stop};
use super::{hints, managed, talk};
use crate::error::{Error, ErrorKind};
use crate::manager::{Latest, ResumeOptions, Run, latest};

/// Prints the path of the newest checkpoint that passes.
pub(super) fn run(args: &LatestArgs) -> Result<Outcome, Stop> {
    let run = match managed::open(&args.directory)? {
        Ok(run) => run,
        Err(outcome) => return Ok(outcome),
    };
    match latest(&run, &options(args)) {
        Ok(Some(latest)) => {
            if !args.quiet {
                say_skipped(&latest);
            }
            print(&latest)?;
            Ok(Outcome::Done)
        }
        Ok(None) => {
            talk("error", "nothing was saved in this run yet");
            Ok(Outcome::Directory)
        }
        Err(error) if is_of_checkpoint(&error, &run) => {
            talk("error", &error.to_string());
            let is_damage = error.kind() == ErrorKind::Corrupted;
            talk("hint", if is_damage { hints::NONE_PASSES } else { hints::STOPPED });
            Ok(Outcome::NotValid)
        }
        Err(error) => Err(error.into()),
    }
}

/// Turns the arguments into options.
fn options(args: &LatestArgs) -> ResumeOptions {
    let mut options = ResumeOptions::default();
    options.level = args.level.unwrap_or(options.level);
    options.force = args.force;
    options.load.allowed_globals.clone_from(&args.allow_global);
    options
}

/// Returns whether an error is about one of the checkpoints, and not about the run.
fn is_of_checkpoint(error: &Error, run: &Run) -> bool {
    error.path().is_some_and(|path| path != run.branch() && path.starts_with(run.branch()))
}

/// Prints the path, as it is: it is made for scripts.
fn print(latest: &Latest) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(latest.path.as_os_str().as_encoded_bytes())?;
    writeln!(out)
}

/// Says what was passed over, and why.
fn say_skipped(latest: &Latest) {
    for skipped in &latest.skipped {
        let finding = &skipped.finding;
        let why = format!("{}: {}{}", finding.code, finding.message, finding.at);
        talk("skipped", &format!("{}: {}: {why}", skipped.id, finding.verdict));
    }
}
