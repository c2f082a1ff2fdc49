//! `ckpt scrub`.

use std::io::{self, StdoutLock, Write};

use super::args::ScrubArgs;
use super::exit::{Outcome, Stop};
use super::output::{self, Document, Lines, Output, Summary};
use super::progress::Progress;
use super::text::{count, size, visible_path};
use super::{hints, talk};
use crate::error::{Error, ErrorKind};
use crate::record::{Report, SCRUB_SCHEMA, ScrubEnd, ScrubSummary};
use crate::save::{Scrub, ScrubOptions};

/// Verifies what was verified longest ago.
pub(super) fn run(args: &ScrubArgs) -> Result<Outcome, Stop> {
    let scrub = match Scrub::begin(&args.directory, options(args)) {
        Ok(scrub) => scrub,
        Err(error) if is_directory(&error, args) => {
            talk("error", &error.to_string());
            talk("hint", hints::for_directory(error.kind()));
            return Ok(Outcome::Directory);
        }
        Err(error) => return Err(error.into()),
    };
    let mut progress = Progress::over_bytes(scrub.bytes_due(), args.output);
    let mut scrub = scrub.with_progress(progress.sink());
    let mut sink = Sink::open(args);
    for report in &mut scrub {
        progress.report(report.is_valid(), || sink.report(report))?;
    }
    drop(progress);
    let summary = scrub.finish()?;
    sink.finish(args, &summary)?;
    if let Some(aside) = &summary.set_aside {
        let message = format!("the memory was damaged, and put aside as {}", visible_path(aside));
        talk("warning", &format!("{message}: nothing counted as verified"));
    }
    let is_good = summary.checked == summary.valid && summary.standing.is_empty();
    Ok(if is_good { Outcome::Done } else { Outcome::NotValid })
}

/// Turns the arguments into options.
fn options(args: &ScrubArgs) -> ScrubOptions {
    let mut options = ScrubOptions::default().with_verify(args.check.options());
    options.rate = args.rate.or(options.rate);
    options.time = args.time;
    options.max_bytes = args.max_bytes;
    options.older_than = args.older_than;
    options.memory.clone_from(&args.memory);
    options
}

/// Returns whether the directory itself is the problem.
fn is_directory(error: &Error, args: &ScrubArgs) -> bool {
    matches!(error.kind(), ErrorKind::Nothing | ErrorKind::Io) && error.path() == Some(&args.directory)
}

/// Where the reports go.
enum Sink {
    Json(Document<StdoutLock<'static>>),
    Lines(Lines<StdoutLock<'static>>),
    Table(Box<dyn Output>),
}

impl Sink {
    fn open(args: &ScrubArgs) -> Self {
        if args.output.json {
            Self::Json(Document::of(io::stdout().lock(), SCRUB_SCHEMA, "reports"))
        } else if args.ndjson {
            Self::Lines(Lines::new(io::stdout().lock()))
        } else {
            Self::Table(output::table(args.output.quiet))
        }
    }

    fn report(&mut self, report: Report) -> io::Result<()> {
        match self {
            Self::Json(document) => document.add(&report),
            Self::Lines(lines) => lines.report(report, None),
            Self::Table(table) => table.report(report, None),
        }
    }

    /// Prints what comes behind the reports.
    fn finish(self, args: &ScrubArgs, summary: &ScrubSummary) -> io::Result<()> {
        match self {
            Self::Json(mut document) => document.end(summary, &[]),
            Self::Lines(mut lines) => lines.finish(&counts(summary), &[]),
            Self::Table(mut table) => {
                table.finish(&counts(summary), &[])?;
                // The table holds the lock of stdout.
                drop(table);
                rest(&mut io::stdout().lock(), args, summary)
            }
        }
    }
}

/// Returns the counts of those that were checked.
fn counts(summary: &ScrubSummary) -> Summary {
    Summary {
        checkpoints: summary.checked,
        valid: summary.valid,
        incompatible: summary.incompatible,
        corrupted: summary.corrupted,
        unreadable: summary.unreadable,
        bytes: summary.bytes,
        elapsed_ms: summary.elapsed_ms,
    }
}

/// Prints what was not checked, and why; first what is known to be bad.
fn rest(out: &mut impl Write, args: &ScrubArgs, summary: &ScrubSummary) -> io::Result<()> {
    for standing in &summary.standing {
        let path = visible_path(&standing.path);
        writeln!(out, "{} since {:.0}  {path}", standing.verdict, standing.verified)?;
    }
    if args.output.quiet {
        return Ok(());
    }
    let why = match summary.ended {
        ScrubEnd::Time => "the time of this run is over",
        ScrubEnd::Bytes => "the bytes of this run are read",
        ScrubEnd::Done | ScrubEnd::Stopped => "the run was stopped",
    };
    if summary.left > 0 {
        let (left, bytes) = (count(summary.left, "checkpoint"), size(summary.left_bytes));
        writeln!(out, "left for another run: {left}, {bytes}: {why}")?;
    }
    if summary.recent > 0 {
        writeln!(out, "passed over, for it was verified recently: {}", count(summary.recent, "checkpoint"))?;
    }
    if summary.forgotten > 0 {
        writeln!(out, "forgotten, for it is gone: {}", count(summary.forgotten, "checkpoint"))?;
    }
    Ok(())
}
