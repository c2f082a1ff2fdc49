//! `ckpt diff`.

use std::io::{self, Write};

use super::args::DiffArgs;
use super::exit::{Outcome, Stop};
use super::output::{buffered, json};
use super::progress::Progress;
use super::text::{count, duration, visible};
use crate::record::{Compared, ComparedBy, Differing, DifferingElements};
use crate::save::{DiffOptions, diff};

/// Compares two checkpoints.
pub(super) fn run(args: &DiffArgs) -> Result<Outcome, Stop> {
    let len = |path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bytes = if args.keys_only { 0 } else { len(&args.left).saturating_add(len(&args.right)) };
    let progress = Progress::over_bytes(bytes, args.output);
    let (tolerance, keys_only, full) = (args.tolerance, args.keys_only, args.full);
    let mut options = DiffOptions { tolerance, keys_only, full, ..DiffOptions::default() };
    options.allowed_globals.clone_from(&args.read.allow_global);
    options.threads = args.read.jobs.map_or(options.threads, usize::from);
    options.progress = progress.sink();
    let compared = diff(&args.left, &args.right, &options);
    drop(progress);
    let compared = compared?;
    show(&compared, args)?;
    Ok(if compared.equal { Outcome::Done } else { Outcome::NotValid })
}

/// Says what differs.
fn show(compared: &Compared, args: &DiffArgs) -> io::Result<()> {
    let mut out = buffered(io::stdout().lock());
    if args.output.json {
        json::line(&mut out, compared)?;
        return out.flush();
    }
    for differing in &compared.differences {
        let path =
            if differing.path.is_empty() { "(top level)".to_owned() } else { visible(&differing.path) };
        writeln!(out, "{:<10}  {path}: {}", differing.kind.as_str(), visible(&describe(differing)))?;
    }
    if !args.output.quiet {
        writeln!(out, "{}", summary(compared))?;
    }
    out.flush()
}

/// Describes one difference.
fn describe(differing: &Differing) -> String {
    let Differing { left, right, elements, .. } = differing;
    match (elements, left, right) {
        (Some(elements), ..) => describe_elements(elements),
        (None, Some(left), Some(right)) => format!("{left} and {right}"),
        (None, Some(one), None) | (None, None, Some(one)) => one.clone(),
        (None, None, None) => String::new(),
    }
}

/// Says how many elements differ, and by how much.
fn describe_elements(elements: &DifferingElements) -> String {
    let DifferingElements { count: all, differing, largest, at, without_number, both_nan } = elements;
    let mut parts = vec![format!("{differing} of {} differ", count(*all, "element"))];
    if let Some(largest) = largest {
        parts.push(format!("by at most {largest:?} at {at:?}"));
    }
    if *without_number > 0 {
        parts
            .push(format!("{without_number} of them not by a number (NaN, infinite, or of an unknown kind)"));
    }
    if *both_nan > 0 {
        parts.push(format!("{both_nan} of them NaN on both sides, of different bits"));
    }
    parts.join(", ")
}

/// The last line.
fn summary(compared: &Compared) -> String {
    let Compared { tensors, values, within, .. } = compared;
    let (tensors, values) = (count(*tensors, "tensor"), count(*values, "value"));
    let how = match compared.by {
        ComparedBy::Proof => ", by their proofs: no data was read",
        ComparedBy::Keys => ", by names, dtypes and shapes",
        ComparedBy::Values => "",
    };
    let within = if *within > 0 { format!(", {within} of them within the tolerance") } else { String::new() };
    let elapsed = duration(compared.elapsed_ms);
    if compared.equal {
        return format!("equal: {tensors} and {values}{within}{how}, in {elapsed}");
    }
    let differences = count(compared.differences.len() as u64, "difference");
    format!("{differences}; {tensors} and {values} equal{within}{how}, in {elapsed}")
}
