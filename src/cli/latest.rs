//! `ckpt latest`.

use std::io::{self, Write};

use super::args::LatestArgs;
use super::exit::{Outcome, Stop};
use super::text::visible_path;
use super::{hints, managed, talk};
use crate::manager::judge;
use crate::record::{CheckpointStanding, Surveyed};
use crate::validate::VerifyOptions;

/// Prints the path of the newest checkpoint that passes.
pub(super) fn run(args: &LatestArgs) -> Result<Outcome, Stop> {
    let run = match managed::open(&args.directory)? {
        Ok(run) => run,
        Err(outcome) => return Ok(outcome),
    };
    let (options, mut listed) = (args.check.options(), run.list()?);
    if listed.is_empty() {
        talk("error", "no checkpoint was saved in this run yet");
        return Ok(Outcome::Directory);
    }
    while let Some(newest) = listed.pop() {
        let checkpoint = judge(newest, &options);
        let Some(finding) = &checkpoint.finding else {
            return print(&checkpoint);
        };
        let is_damaged = checkpoint.standing == CheckpointStanding::Bad;
        if !is_damaged && !args.force {
            talk("error", &format!("{} is the newest that isn't damaged, and can't be used", checkpoint.id));
            say_why(&checkpoint);
            let before = listed.into_iter().rev().map(|before| judge(before, &options));
            return Ok(stopped(before, &options));
        }
        if !args.quiet {
            talk("skipped", &format!("{}: {}", checkpoint.id, finding.verdict));
            say_why(&checkpoint);
        }
    }
    talk("error", &format!("no checkpoint of this run passes at the level {}", options.level));
    talk("hint", hints::NOTHING_LEFT);
    Ok(Outcome::NotValid)
}

/// Prints the path, as it is: it is made for scripts.
fn print(checkpoint: &Surveyed) -> Result<Outcome, Stop> {
    let mut out = io::stdout().lock();
    out.write_all(checkpoint.path.as_os_str().as_encoded_bytes())?;
    writeln!(out)?;
    Ok(Outcome::Done)
}

/// Says what was found against a checkpoint.
fn say_why(checkpoint: &Surveyed) {
    if let Some(finding) = &checkpoint.finding {
        talk("reason", &format!("{}: {}{}", finding.code, finding.message, finding.at));
    }
}

/// Says which one would be next, and that nobody goes on to it unasked.
fn stopped(mut before: impl Iterator<Item = Surveyed>, options: &VerifyOptions) -> Outcome {
    match before.find(|checkpoint| checkpoint.finding.is_none()) {
        Some(next) => {
            let path = visible_path(&next.path);
            let message = format!(
                "the next that passes at the level {} is {path}: --force goes on to it",
                options.level
            );
            talk("hint", &message);
        }
        None => talk("hint", "none before it passes"),
    }
    Outcome::NotValid
}
