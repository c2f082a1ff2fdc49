//! What `ckpt verify` prints: a table for people, JSON and JUnit for programs.

pub(super) mod json;
mod junit;
pub(super) mod table;

use std::io::{self, BufWriter};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

pub(in crate::cli) use self::json::{Document, Lines};
use self::junit::JUnit;
use self::table::Table;
use super::args::VerifyArgs;
use super::exit::Stop;
use super::failures::Past;
use super::text::Palette;
use crate::error::Error;
use crate::record::{Report, Verdict};

/// A way to print reports.
pub(super) trait Output {
    /// Takes the next report, in path order, with what earlier runs found of the checkpoint.
    fn report(&mut self, report: Report, past: Option<&Past>) -> io::Result<()>;

    /// Prints what comes behind the reports.
    fn finish(&mut self, summary: &Summary, problems: &[Error]) -> io::Result<()>;
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub(super) checkpoints: u64,
    pub(super) valid: u64,
    pub(super) incompatible: u64,
    pub(super) corrupted: u64,
    pub(super) unreadable: u64,
    pub(super) bytes: u64,
    pub(super) elapsed_ms: u64,
}

impl Summary {
    /// Counts a report.
    pub(super) fn add(&mut self, report: &Report) {
        self.checkpoints += 1;
        self.bytes = self.bytes.saturating_add(report.bytes);
        *match report.verdict {
            Verdict::Valid => &mut self.valid,
            Verdict::Incompatible => &mut self.incompatible,
            Verdict::Corrupted => &mut self.corrupted,
            Verdict::Unreadable => &mut self.unreadable,
        } += 1;
    }

    /// Returns the counts with their verdicts, worst first.
    fn counts(&self) -> [(u64, Verdict); 4] {
        [
            (self.unreadable, Verdict::Unreadable),
            (self.corrupted, Verdict::Corrupted),
            (self.incompatible, Verdict::Incompatible),
            (self.valid, Verdict::Valid),
        ]
    }
}

/// Opens the table, in colour where stdout is a terminal that has it or the environment asks for it.
pub(in crate::cli) fn table(is_quiet: bool) -> Box<dyn Output> {
    let stdout = io::stdout().lock();
    let palette = Palette { is_coloured: AutoStream::choice(&stdout) != ColorChoice::Never };
    if palette.is_coloured {
        Box::new(Table::new(buffered(AutoStream::auto(stdout)), palette, is_quiet))
    } else {
        Box::new(Table::new(buffered(stdout), palette, is_quiet))
    }
}

/// Collects small writes: stdout itself writes line by line.
pub(in crate::cli) fn buffered<W: io::Write>(out: W) -> BufWriter<W> {
    BufWriter::with_capacity(64 << 10, out)
}

/// Opens the outputs that were asked for.
pub(super) fn open(args: &VerifyArgs) -> Result<Box<dyn Output>, Stop> {
    let stdout: Box<dyn Output> = if args.json {
        Box::new(Document::new(buffered(io::stdout().lock())))
    } else if args.ndjson {
        Box::new(Lines::new(buffered(io::stdout().lock())))
    } else {
        table(args.quiet)
    };
    match &args.junit {
        Some(path) => Ok(Box::new(JUnit::create(path, stdout)?)),
        None => Ok(stdout),
    }
}
