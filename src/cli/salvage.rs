//! `ckpt salvage`.

use std::io::{self, Write};

use super::args::SalvageArgs;
use super::convert::{list_dropped, of_sink};
use super::exit::{Outcome, Stop};
use super::output::{buffered, json};
use super::progress::Progress;
use super::text::{count, duration, size, visible, visible_path};
use super::{hints, talk};
use crate::error::{Error, ErrorKind};
use crate::record::{Missing, Salvaged};
use crate::save::{SalvageOptions, salvage};

/// Saves what is intact of a damaged checkpoint.
pub(super) fn run(args: &SalvageArgs) -> Result<Outcome, Stop> {
    let bytes = std::fs::metadata(&args.source).map_or(0, |metadata| metadata.len());
    // Each byte is read to be judged, and written.
    let progress = Progress::over_bytes(bytes.saturating_mul(2), args.output);
    let mut options = SalvageOptions { unproven: args.unproven, ..SalvageOptions::default() };
    options.allowed_globals.clone_from(&args.read.allow_global);
    options.threads = args.read.jobs.map_or(options.threads, usize::from);
    options.progress = progress.sink();
    options.save = args.write.options();
    options.save.progress = progress.sink().map(of_sink);
    let salvaged = salvage(&args.source, &args.destination, &options);
    drop(progress);
    let salvaged = match salvaged {
        Ok(salvaged) => salvaged,
        Err(error) => return Ok(failed(&error, args)),
    };
    show(&salvaged, args)?;
    if !salvaged.missing.is_empty() && !args.output.quiet {
        talk("hint", hints::MISSING_TENSORS);
    }
    Ok(if salvaged.missing.is_empty() { Outcome::Done } else { Outcome::NotValid })
}

/// Says why nothing was saved, and what can be done.
fn failed(error: &Error, args: &SalvageArgs) -> Outcome {
    talk("error", &error.to_string());
    match error.kind() {
        ErrorKind::Nothing if !args.unproven => talk("hint", hints::NOTHING_PROVEN),
        ErrorKind::Nothing | ErrorKind::Corrupted => talk("hint", hints::NOTHING_LEFT),
        _ => {}
    }
    Outcome::Usage
}

/// Says what was saved, and what wasn't.
fn show(salvaged: &Salvaged, args: &SalvageArgs) -> io::Result<()> {
    let mut out = buffered(io::stdout().lock());
    if args.output.json {
        json::line(&mut out, salvaged)?;
        return out.flush();
    }
    if !args.output.quiet {
        let (from, to) = (visible_path(&salvaged.source), visible_path(&salvaged.destination));
        let all = salvaged.saved.saturating_add(salvaged.missing.len() as u64);
        let (all, bytes) = (count(all, "tensor"), size(salvaged.bytes));
        let (saved, elapsed) = (salvaged.saved, duration(salvaged.elapsed_ms));
        writeln!(out, "salvaged   {from} to {to}: {saved} of {all}, {bytes}, in {elapsed}")?;
        writeln!(out, "           {} to {}, {}", salvaged.from, salvaged.to, salvaged.proof)?;
        for name in &salvaged.unproven {
            writeln!(out, "unproven   {}", visible(name))?;
        }
        list_dropped(&mut out, &salvaged.dropped)?;
        for note in &salvaged.notes {
            writeln!(out, "           note: {}", visible(note))?;
        }
    }
    for Missing { name, dtype, shape, reason } in &salvaged.missing {
        writeln!(out, "missing    {} {dtype}{shape:?}: {}", visible(name), visible(reason))?;
    }
    out.flush()
}
