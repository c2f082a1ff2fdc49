//! `ckpt convert`.

use std::io::{self, Write};
use std::sync::Arc;

use super::args::ConvertArgs;
use super::exit::{Outcome, Stop};
use super::output::json;
use super::progress::Progress;
use super::text::{count, duration, size, visible, visible_path};
use super::{hints, talk};
use crate::error::Error;
use crate::record::{Converted, Dropped};
use crate::save::{self, ConvertOptions, convert};
use crate::validate::ProgressSink;

/// Converts a checkpoint.
pub(super) fn run(args: &ConvertArgs) -> Result<Outcome, Stop> {
    let bytes = std::fs::metadata(&args.source).map_or(0, |metadata| metadata.len());
    // Each byte is read to be verified, and written.
    let passes = if args.skip_checkpoint_validation { 1 } else { 2 };
    let progress = Progress::over_bytes(bytes.saturating_mul(passes), args.output);
    let mut options = ConvertOptions { lossy: args.lossy, ..ConvertOptions::default() };
    options.verify = args.check.options();
    options.verify.skip_contents = args.skip_checkpoint_validation;
    options.verify.progress = progress.sink();
    options.save = args.write.options();
    options.save.progress = progress.sink().map(of_sink);
    let converted = convert(&args.source, &args.destination, &options);
    drop(progress);
    match converted {
        Ok(converted) => {
            show(&converted, args)?;
            Ok(Outcome::Done)
        }
        Err(error) => refused(error),
    }
}

/// Tells who writes where to tell of bytes.
pub(super) fn of_sink(sink: ProgressSink) -> save::Progress {
    Arc::new(move |bytes| sink.add(bytes))
}

/// Says why nothing was written: for what was found in the source, or because it can't be done.
fn refused(error: Error) -> Result<Outcome, Stop> {
    let Some(code) = error.finding().map(|finding| finding.code) else { return Err(error.into()) };
    talk("error", &error.to_string());
    talk("hint", hints::for_source(code));
    Ok(Outcome::NotValid)
}

/// Says what was converted.
fn show(converted: &Converted, args: &ConvertArgs) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.output.json {
        return json::line(&mut out, converted);
    }
    if args.output.quiet {
        return Ok(());
    }
    let (from, to) = (visible_path(&converted.source), visible_path(&converted.destination));
    let (tensors, bytes) = (count(converted.tensors, "tensor"), size(converted.bytes));
    let elapsed = duration(converted.elapsed_ms);
    writeln!(out, "converted  {from} to {to}: {tensors}, {bytes}, in {elapsed}")?;
    writeln!(out, "           {} to {}, {}", converted.from, converted.to, converted.proof)?;
    list_dropped(&mut out, &converted.dropped)?;
    for note in &converted.notes {
        writeln!(out, "           note: {}", visible(note))?;
    }
    Ok(())
}

/// Lists what was left out.
pub(super) fn list_dropped(out: &mut impl Write, dropped: &[Dropped]) -> io::Result<()> {
    for Dropped { path, reason } in dropped {
        let path = if path.is_empty() { "(top level)".to_owned() } else { visible(path) };
        writeln!(out, "left out   {path}: {}", visible(reason))?;
    }
    Ok(())
}
