//! `ckpt merge`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::args::MergeArgs;
use super::exit::{Outcome, Stop};
use super::output::Document;
use super::progress::Progress;
use super::text::{count, duration, size, visible, visible_path};
use super::{hints, talk};
use crate::error::{Error, ErrorKind};
use crate::features::merge::{MergeOptions, Pair, Pairs, merge_all, pairs_in};
use crate::io::commit::{LocalDisk, create_directories, resolve_directory};
use crate::record::{MERGE_SCHEMA, MergeOutcome, Merged};

/// A line names so many ids.
const NAMED_IDS: usize = 5;

/// Merges what is named.
pub(super) fn run(args: &MergeArgs) -> Result<Outcome, Stop> {
    let started = Instant::now();
    let options = args.options();
    let Pairs { pairs, unpaired, .. } = match pairs(args, &options) {
        Ok(pairs) => pairs,
        Err(error) if matches!(error.kind(), ErrorKind::Nothing | ErrorKind::Io) && args.list.is_none() => {
            talk("error", &error.to_string());
            talk("hint", hints::PAIRS);
            return Ok(Outcome::Directory);
        }
        Err(error) => return Err(error.into()),
    };
    for path in &unpaired {
        talk("warning", &format!("{}: it has no partner, or more than one", visible_path(path)));
    }
    let results = merge(&pairs, &options, args)?;
    let mut summary = Summary::of(&results, &unpaired);
    summary.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    finish(&results, &summary, args)?;
    // One pair whose merge can't be done is a usage that can't be.
    let is_undoable =
        |result: &Result<Merged, Error>| matches!(result, Err(error) if error.finding().is_none());
    Ok(match results.as_slice() {
        [only] if is_undoable(only) => Outcome::Usage,
        _ if summary.failed > 0 => Outcome::NotValid,
        _ => Outcome::Done,
    })
}

/// Finds the pairs, and makes the directory that the outputs of directories go to.
fn pairs(args: &MergeArgs, options: &MergeOptions) -> Result<Pairs, Error> {
    let (a, b, out) = match (&args.list, &args.a, &args.b, &args.out) {
        (Some(list), ..) => return listed(list),
        (None, Some(a), Some(b), Some(out)) => (a, b, out),
        _ => return Err(Error::usage("two inputs and an output are needed, or --list")),
    };
    if !a.is_dir() && !b.is_dir() {
        let mut pairs = Pairs::default();
        pairs.pairs.push(Pair::new(a, b, out));
        return Ok(pairs);
    }
    let found = pairs_in(a, b, out, options)?;
    if found.pairs.is_empty() {
        let message = format!("no file here has a partner in {}", b.display());
        return Err(Error::nothing(a, message));
    }
    create_directories(&LocalDisk, &resolve_directory(&LocalDisk, out)?)?;
    Ok(found)
}

/// Reads a list of pairs.
fn listed(list: &Path) -> Result<Pairs, Error> {
    let text = std::fs::read_to_string(list).map_err(|error| Error::io(list, "read the list", error))?;
    let mut pairs = Pairs::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        let &[a, b, out] = fields.as_slice() else {
            let message = format!("line {}: A, B and OUT are needed, with tabs between", number + 1);
            return Err(Error::usage(message).at(list));
        };
        pairs.pairs.push(Pair::new(a, b, out));
    }
    Ok(pairs)
}

/// Merges all pairs, and says of each what became of it: in their order, and as soon as it is known.
fn merge(
    pairs: &[Pair],
    options: &MergeOptions,
    args: &MergeArgs,
) -> Result<Vec<Result<Merged, Error>>, Stop> {
    let bytes = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
    let sizes: Vec<u64> = pairs.iter().map(|pair| bytes(&pair.a).saturating_add(bytes(&pair.b))).collect();
    let total = sizes.iter().copied().fold(0, u64::saturating_add);
    let progress = Progress::over_bytes(total, args.output);
    let sink = progress.sink();
    let lines = Mutex::new(Lines { progress, waiting: BTreeMap::new(), next: 0, failed: None });
    let results = merge_all(pairs, options, &|place, result| {
        if let (Some(sink), Some(bytes)) = (&sink, sizes.get(place)) {
            sink.add(*bytes);
        }
        lines.lock().unwrap_or_else(PoisonError::into_inner).take(place, result.clone(), args);
    });
    match lines.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        Some(error) => Err(error.into()),
        None => Ok(results),
    }
}

/// What is said while pairs are merged.
struct Lines {
    progress: Progress,
    /// What became of pairs that others come before.
    waiting: BTreeMap<usize, Result<Merged, Error>>,
    /// The pair of which is to be said next what became of it.
    next: usize,
    /// Why nothing more can be printed.
    failed: Option<io::Error>,
}

impl Lines {
    /// Takes up what became of a pair, and says what can be said now.
    fn take(&mut self, place: usize, result: Result<Merged, Error>, args: &MergeArgs) {
        self.waiting.insert(place, result);
        while let Some(result) = self.waiting.remove(&self.next) {
            self.next += 1;
            if self.failed.is_none() {
                let printed = self.progress.report(result.is_ok(), || line(&result, args));
                self.failed = printed.err();
            }
        }
    }
}

/// Says what became of a pair.
fn line(result: &Result<Merged, Error>, args: &MergeArgs) -> io::Result<()> {
    match result {
        Ok(merged) if !args.output.json && !args.output.quiet => show(&mut io::stdout().lock(), merged),
        Ok(_) => Ok(()),
        Err(error) => {
            talk("error", &error.to_string());
            if let Some(finding) = error.finding() {
                talk("hint", hints::for_merge(finding.code));
            }
            Ok(())
        }
    }
}

/// Prints what was merged.
fn show(out: &mut impl Write, merged: &Merged) -> io::Result<()> {
    let Merged { outcome, rows, width_a, width_b, dtype, bytes, proof, .. } = merged;
    let (path, rows, bytes) = (visible_path(&merged.path), count(*rows, "row"), size(*bytes));
    writeln!(out, "{outcome:8} {path}  {rows} of {width_a} + {width_b} {dtype}, {bytes}  {proof}")?;
    let notes = [
        (&merged.only_in_a, "only in", &merged.a),
        (&merged.only_in_b, "only in", &merged.b),
        (&merged.duplicates_in_a, "more than once in", &merged.a),
        (&merged.duplicates_in_b, "more than once in", &merged.b),
    ];
    for (ids, what, path) in notes.into_iter().filter(|(ids, ..)| !ids.is_empty()) {
        let mut named: Vec<String> = ids.iter().take(NAMED_IDS).map(|id| visible(id)).collect();
        if ids.len() > NAMED_IDS {
            named.push(format!("and {} more", ids.len() - NAMED_IDS));
        }
        let (number, path) = (count(ids.len() as u64, "id"), visible_path(path));
        writeln!(out, "         {number} {what} {path}: {}", named.join(", "))?;
    }
    Ok(())
}

/// What holds for all pairs together.
#[derive(Clone, Debug, Default, Serialize)]
struct Summary {
    pairs: u64,
    merged: u64,
    skipped: u64,
    failed: u64,
    rows: u64,
    bytes: u64,
    unmatched: u64,
    duplicates: u64,
    unpaired: Vec<String>,
    elapsed_ms: u64,
}

impl Summary {
    fn of(results: &[Result<Merged, Error>], unpaired: &[PathBuf]) -> Self {
        let unpaired = unpaired.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let mut summary = Self { pairs: results.len() as u64, unpaired, ..Self::default() };
        for result in results {
            let Ok(merged) = result else {
                summary.failed += 1;
                continue;
            };
            *match merged.outcome {
                MergeOutcome::Merged => &mut summary.merged,
                MergeOutcome::Skipped => &mut summary.skipped,
            } += 1;
            summary.rows = summary.rows.saturating_add(merged.rows);
            summary.bytes = summary.bytes.saturating_add(merged.bytes);
            summary.unmatched = summary.unmatched.saturating_add(merged.unmatched());
            summary.duplicates = summary.duplicates.saturating_add(merged.duplicates());
        }
        summary
    }
}

/// Prints the document, or what comes behind the lines.
fn finish(results: &[Result<Merged, Error>], summary: &Summary, args: &MergeArgs) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.output.json {
        let mut document = Document::of(out, MERGE_SCHEMA, "merges");
        results
            .iter()
            .filter_map(|result| result.as_ref().ok())
            .try_for_each(|merged| document.add(merged))?;
        let problems: Vec<Error> =
            results.iter().filter_map(|result| result.as_ref().err().cloned()).collect();
        return document.end(summary, &problems);
    }
    if args.output.quiet || summary.pairs < 2 {
        return Ok(());
    }
    let counts = [(summary.failed, "failed"), (summary.merged, "merged"), (summary.skipped, "skipped")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let (pairs, rows) = (count(summary.pairs, "pair"), count(summary.rows, "row"));
    let (bytes, elapsed) = (size(summary.bytes), duration(summary.elapsed_ms));
    writeln!(out, "\n{pairs}, {rows}, {bytes}, in {elapsed}: {}", counts.join(", "))
}
