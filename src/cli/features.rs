//! `ckpt features`.

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::args::{
    FeaturesAggregateArgs, FeaturesArgs, FeaturesCommand, FeaturesStatusArgs, FeaturesTodoArgs,
};
use super::exit::{Outcome, Stop};
use super::output::{Document, buffered, json};
use super::text::{age, count, duration, size, visible, visible_path};
use super::{hints, talk};
use crate::error::{Error, ErrorKind};
use crate::features::extraction::{AggregateOptions, Worker, aggregate, manifest, todo};
use crate::record::{
    Aggregated, ExtractionManifest, FEATURES_SCHEMA, InputFingerprint, InputUnit, RankRecord, SetAside,
    StalledRank,
};

/// Looks after an extraction of features.
pub(super) fn run(args: &FeaturesArgs) -> Result<Outcome, Stop> {
    let outcome = match &args.command {
        FeaturesCommand::Status(args) => show_status(args),
        FeaturesCommand::Todo(args) => print_todo(args),
        FeaturesCommand::Aggregate(args) => make_one(args),
    };
    match outcome {
        Err(Failed::Of(error)) => refused(error),
        Err(Failed::Stop(stop)) => Err(stop),
        Ok(outcome) => Ok(outcome),
    }
}

/// Why one of the commands stopped: what the library says decides how it ends.
enum Failed {
    Of(Error),
    Stop(Stop),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Of(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Stop(error.into())
    }
}

/// Says why nothing was done, and what can be done about it.
fn refused(error: Error) -> Result<Outcome, Stop> {
    let (outcome, hint) = match (error.kind(), error.finding()) {
        (ErrorKind::Nothing, _) => (Outcome::Directory, hints::NO_EXTRACTION),
        (ErrorKind::Incompatible, Some(_)) => (Outcome::NotValid, hints::MISSING_ROWS),
        (ErrorKind::Incompatible, None) => (Outcome::NotValid, hints::OTHER_SHARDS),
        _ => return Err(error.into()),
    };
    talk("error", &error.to_string());
    talk("hint", hint);
    Ok(outcome)
}

/// Reads ids, one a line; empty lines are none.
fn read_ids(path: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read the ids", error))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// A rank, as the document has it.
#[derive(Debug, Serialize)]
struct Row {
    rank: u32,
    world_size: u32,
    shards: usize,
    rows: u64,
    bytes: u64,
    started: Option<Timestamp>,
    updated: Option<Timestamp>,
    state: &'static str,
}

impl Row {
    fn of(record: &RankRecord, manifest: &ExtractionManifest, stalled: &[StalledRank]) -> Self {
        let state = if is_stalled(record.rank, stalled) {
            "stalled"
        } else if record.finished {
            "finished"
        } else if manifest.is_current(record) {
            "working"
        } else {
            "left"
        };
        Self {
            rank: record.rank,
            world_size: record.world_size,
            shards: record.batches.len(),
            rows: record.rows,
            bytes: record.bytes(),
            started: Some(record.started),
            updated: Some(record.updated),
            state,
        }
    }

    /// A rank that has no record that can be read.
    fn without_record(rank: u32, manifest: &ExtractionManifest, state: &'static str) -> Self {
        let world_size = manifest.world_size;
        Self { rank, world_size, shards: 0, rows: 0, bytes: 0, started: None, updated: None, state }
    }
}

fn is_stalled(rank: u32, stalled: &[StalledRank]) -> bool {
    stalled.iter().any(|stalled| stalled.rank == rank)
}

/// Returns all ranks, in order.
fn ranks_of(manifest: &ExtractionManifest, stalled: &[StalledRank]) -> Vec<Row> {
    let absent = manifest.absent.iter().map(|rank| {
        let state = if is_stalled(*rank, stalled) { "stalled" } else { "absent" };
        Row::without_record(*rank, manifest, state)
    });
    let damaged = manifest.damaged.iter().map(|rank| Row::without_record(*rank, manifest, "damaged"));
    let noted = manifest.ranks.iter().map(|record| Row::of(record, manifest, stalled));
    let mut ranks: Vec<Row> = noted.chain(absent).chain(damaged).collect();
    ranks.sort_unstable_by_key(|rank| rank.rank);
    ranks
}

/// What holds for an extraction as a whole.
#[derive(Debug, Serialize)]
struct Summary<'m> {
    directory: String,
    extraction: &'m str,
    input: &'m InputFingerprint,
    model: &'m str,
    config: &'m serde_json::Value,
    created: Timestamp,
    world_size: u32,
    shards: u64,
    rows: u64,
    bytes: u64,
    finished: bool,
    unrecorded: &'m [String],
}

/// Shows what each rank has noted.
fn show_status(args: &FeaturesStatusArgs) -> Result<Outcome, Failed> {
    let manifest = manifest(&args.directory)?;
    let now = Timestamp::now();
    let stalled = args.stalled_after.map_or_else(Vec::new, |age| manifest.stalled(now, age));
    let ranks = ranks_of(&manifest, &stalled);
    let mut out = buffered(io::stdout().lock());
    if args.json {
        let mut document = Document::of(out, FEATURES_SCHEMA, "ranks");
        ranks.iter().try_for_each(|rank| document.add(rank))?;
        document.end(&summary(args, &manifest), &[])?;
    } else {
        table(&mut out, &ranks, &manifest, now)?;
        out.flush()?;
    }
    Ok(if stalled.is_empty() { Outcome::Done } else { Outcome::NotValid })
}

fn summary<'m>(args: &FeaturesStatusArgs, manifest: &'m ExtractionManifest) -> Summary<'m> {
    let extraction = &manifest.extraction;
    Summary {
        directory: args.directory.to_string_lossy().into_owned(),
        extraction: &extraction.id,
        input: &extraction.input,
        model: &extraction.model.hash,
        config: &extraction.model.config,
        created: extraction.created,
        world_size: manifest.world_size,
        shards: manifest.shards(),
        rows: manifest.rows(),
        bytes: manifest.bytes(),
        finished: manifest.is_finished(),
        unrecorded: &manifest.unrecorded,
    }
}

/// Writes a line per rank, and the counts.
fn table(
    out: &mut impl Write,
    ranks: &[Row],
    manifest: &ExtractionManifest,
    now: Timestamp,
) -> io::Result<()> {
    writeln!(out, "{:>5}  {:8}  {:>7}  {:>10}  {:>10}  UPDATED", "RANK", "STATE", "SHARDS", "ROWS", "SIZE")?;
    for Row { rank, shards, rows, bytes, updated, state, .. } in ranks {
        let updated = updated.map_or_else(|| "never".to_owned(), |updated| age(updated, now));
        writeln!(out, "{rank:>5}  {state:8}  {shards:>7}  {rows:>10}  {:>10}  {updated}", size(*bytes))?;
    }
    for shard in &manifest.unrecorded {
        writeln!(
            out,
            "unrecorded: {shard} (its rank was stopped when it had saved it; it counts if it verifies)"
        )?;
    }
    let input = &manifest.extraction.input;
    let rows = match input.of {
        InputUnit::Ids => format!("{} of {}", manifest.rows(), count(input.count, "row")),
        InputUnit::Bytes => count(manifest.rows(), "row"),
    };
    let (shards, bytes) = (count(manifest.shards(), "shard"), size(manifest.bytes()));
    let finished = if manifest.is_finished() { ", finished" } else { "" };
    writeln!(out, "\n{}, {shards}, {rows}, {bytes}{finished}", count(manifest.world_size.into(), "rank"))
}

/// Prints the ids that are still to do.
fn print_todo(args: &FeaturesTodoArgs) -> Result<Outcome, Failed> {
    let worker = match (args.rank, args.world_size) {
        (Some(rank), Some(world_size)) => Some(Worker::new(rank, world_size)?),
        _ => None,
    };
    let todo = todo(&args.directory, &read_ids(&args.ids)?)?;
    say_damaged(&todo.set_aside);
    let mut out = buffered(io::stdout().lock());
    let ids = worker.map_or_else(|| todo.ids.clone(), |worker| todo.for_rank(worker));
    for id in ids {
        writeln!(out, "{id}")?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Says which shards are damaged, and why.
fn say_damaged(damaged: &[SetAside]) {
    for SetAside { shard, finding, .. } in damaged {
        talk("damaged", &format!("{shard}: {}: {}{}", finding.code, finding.message, finding.at));
    }
}

/// Makes one file of all shards.
fn make_one(args: &FeaturesAggregateArgs) -> Result<Outcome, Failed> {
    let ids = args.ids.as_deref().map(read_ids).transpose()?;
    let mut options = AggregateOptions::default().with_save(args.write.options());
    options.allow_missing = args.allow_missing;
    let aggregated = aggregate(&args.directory, ids.as_deref(), &args.output, &options)?;
    let mut out = buffered(io::stdout().lock());
    if args.json {
        json::line(&mut out, &aggregated)?;
    } else {
        say_damaged(&aggregated.damaged);
        show_aggregated(&mut out, &aggregated)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Says what was made, and what was odd.
fn show_aggregated(out: &mut impl Write, aggregated: &Aggregated) -> io::Result<()> {
    let Aggregated { path, rows, shards, bytes, proof, elapsed_ms, .. } = aggregated;
    let (rows, shards) = (count(*rows, "row"), count(*shards, "shard"));
    let (bytes, elapsed) = (size(*bytes), duration(*elapsed_ms));
    writeln!(out, "aggregated  {}: {rows} of {shards}, {bytes}, in {elapsed}", visible_path(path))?;
    writeln!(out, "            {proof}")?;
    for (number, ids, what) in [
        (aggregated.missing, &aggregated.missing_ids, "missing"),
        (aggregated.duplicates, &aggregated.duplicate_ids, "duplicate"),
        (aggregated.differing, &aggregated.differing_ids, "differing"),
        (aggregated.unlisted, &aggregated.unlisted_ids, "unlisted"),
    ] {
        if number > 0 {
            writeln!(out, "{what:10}  {number}{}", first_of(ids, number))?;
        }
    }
    Ok(())
}

/// Returns the ids that are listed of so many.
fn first_of(ids: &[String], number: u64) -> String {
    if ids.is_empty() {
        return String::new();
    }
    let more = if number > ids.len() as u64 { ", …" } else { "" };
    let ids: Vec<String> = ids.iter().map(|id| visible(id)).collect();
    format!(": {}{more}", ids.join(", "))
}
