//! `ckpt list`.

use std::io::{self, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::args::ListArgs;
use super::exit::{Outcome, Stop};
use super::output::{Document, buffered};
use super::text::{age, count, size, visible, visible_path};
use super::{hints, managed};
use crate::manager::{Run, survey};
use crate::record::{CheckpointStanding, LIST_SCHEMA, Level, Surveyed};

/// The widest column of metrics; longer ones move the rest of their line to the right.
const METRICS_WIDTH_MAX: usize = 60;

/// Lists a run's checkpoints.
pub(super) fn run(args: &ListArgs) -> Result<Outcome, Stop> {
    let run = match managed::open(&args.directory)? {
        Ok(run) => run,
        Err(outcome) => return Ok(outcome),
    };
    let options = args.standing.options();
    let checkpoints = survey(&run, &options)?;
    let in_flight = managed::in_flight(&run)?;
    let mut out = buffered(io::stdout().lock());
    if args.json {
        let mut document = Document::of(out, LIST_SCHEMA, "checkpoints");
        checkpoints.iter().try_for_each(|checkpoint| document.add(checkpoint))?;
        document.end(&Summary::of(&run, options.level, &checkpoints, &in_flight), &[])?;
    } else {
        table(&mut out, &checkpoints, &in_flight, Timestamp::now())?;
        out.flush()?;
    }
    Ok(Outcome::Done)
}

/// The counts of a list.
#[derive(Debug, Serialize)]
struct Summary {
    run: String,
    level: Level,
    checkpoints: usize,
    good: usize,
    unverified: usize,
    bad: usize,
    bytes: u64,
    in_flight: Vec<String>,
}

impl Summary {
    fn of(run: &Run, level: Level, checkpoints: &[Surveyed], in_flight: &[PathBuf]) -> Self {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        Self {
            run: text(run.directory()),
            level,
            checkpoints: checkpoints.len(),
            good: number(checkpoints, CheckpointStanding::Good),
            unverified: number(checkpoints, CheckpointStanding::Unverified),
            bad: number(checkpoints, CheckpointStanding::Bad),
            bytes: bytes(checkpoints),
            in_flight: in_flight.iter().map(|path| text(path)).collect(),
        }
    }
}

fn number(checkpoints: &[Surveyed], standing: CheckpointStanding) -> usize {
    checkpoints.iter().filter(|checkpoint| checkpoint.standing == standing).count()
}

fn bytes(checkpoints: &[Surveyed]) -> u64 {
    checkpoints.iter().fold(0, |sum, checkpoint| sum.saturating_add(checkpoint.bytes))
}

/// Writes a line per checkpoint, what is wrong with it beneath, and the counts.
fn table(
    out: &mut impl Write,
    checkpoints: &[Surveyed],
    in_flight: &[PathBuf],
    now: Timestamp,
) -> io::Result<()> {
    let rows: Vec<_> = checkpoints.iter().map(|checkpoint| (metrics(checkpoint), checkpoint)).collect();
    let names =
        checkpoints.iter().map(|checkpoint| checkpoint.id.to_string().len()).max().unwrap_or(0).max(10);
    let wide = rows.iter().map(|(metrics, _)| metrics.chars().count()).max().unwrap_or(0);
    let wide = wide.clamp("METRICS".len(), METRICS_WIDTH_MAX);
    if !rows.is_empty() {
        let titles = format!(
            "{:names$}  {:>7}  {:>10}  {:10}  {:wide$}  PINNED",
            "CHECKPOINT", "AGE", "SIZE", "STANDING", "METRICS"
        );
        writeln!(out, "{titles}")?;
    }
    for (metrics, checkpoint) in rows {
        let id = checkpoint.id.to_string();
        let age = checkpoint.created.map_or_else(|| "?".to_owned(), |created| age(created, now));
        let (size, standing) = (size(checkpoint.bytes), checkpoint.standing);
        let line = format!(
            "{id:names$}  {age:>7}  {size:>10}  {standing:10}  {metrics:wide$}  {}",
            checkpoint.pinned.as_deref().map_or_else(String::new, pinned)
        );
        writeln!(out, "{}", line.trim_end())?;
        finding(out, checkpoint)?;
    }
    for path in in_flight {
        let (standing, path) = (CheckpointStanding::InFlight, visible_path(path));
        writeln!(
            out,
            "{standing}: {path} (being saved, or left by a killed process: the next save removes it)"
        )?;
    }
    counts(out, checkpoints, in_flight)
}

/// Returns what a pin says: that there is one, and why.
fn pinned(reason: &str) -> String {
    if reason.is_empty() { "yes".to_owned() } else { visible(reason) }
}

/// Returns what was measured, in a line.
fn metrics(checkpoint: &Surveyed) -> String {
    let pairs = checkpoint.metrics.iter().map(|(name, value)| format!("{}={value}", visible(name)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Writes what was found against a checkpoint, and what to do about it.
fn finding(out: &mut impl Write, checkpoint: &Surveyed) -> io::Result<()> {
    let Some(finding) = &checkpoint.finding else { return Ok(()) };
    let message = visible(&finding.message);
    writeln!(out, "    {}: {}: {message}{}", finding.verdict, finding.code, finding.at)?;
    match hints::for_code(finding.code) {
        Some(hint) => writeln!(out, "    hint: {hint}"),
        None => Ok(()),
    }
}

/// Writes how many there are.
fn counts(out: &mut impl Write, checkpoints: &[Surveyed], in_flight: &[PathBuf]) -> io::Result<()> {
    let all = count(checkpoints.len() as u64, "checkpoint");
    let numbers = CheckpointStanding::ALL.map(|standing| match standing {
        CheckpointStanding::InFlight => (in_flight.len(), standing),
        standing => (number(checkpoints, standing), standing),
    });
    let numbers: Vec<String> = numbers
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let separator = if numbers.is_empty() { "" } else { ": " };
    writeln!(out, "\n{all}, {}{separator}{}", size(bytes(checkpoints)), numbers.join(", "))
}
