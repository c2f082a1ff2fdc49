//! `ckpt cp`.

use std::io::{self, Write};

use super::args::CopyArgs;
use super::exit::{Outcome, Stop};
use super::output::json;
use super::progress::Progress;
use super::text::{count, duration, size, visible, visible_path};
use super::{hints, talk};
use crate::error::Error;
use crate::record::Copied;
use crate::save::{CopyOptions, Copying};

/// Copies a checkpoint.
pub(super) fn run(args: &CopyArgs) -> Result<Outcome, Stop> {
    let mut options = options(args);
    let copying = match Copying::plan(&args.source, &args.destination, &options) {
        Ok(copying) => copying,
        Err(error) => return failed(error),
    };
    // Each byte is read to be verified, written, and read back.
    let passes = if args.skip_checkpoint_validation { 2 } else { 3 };
    let progress = Progress::over_bytes(copying.bytes().saturating_mul(passes), args.output);
    options.verify.progress = progress.sink();
    options.progress = progress.sink();
    let copying = copying.verify(&options);
    if let Some(finding) = copying.refusal() {
        let error = Error::found(&args.source, finding.clone());
        if let (true, Some(refused)) = (args.output.json, copying.refused()) {
            json::line(&mut io::stdout().lock(), &refused)?;
        }
        drop(progress);
        return failed(error);
    }
    let copied = copying.run(&options);
    drop(progress);
    match copied {
        Ok(copied) => {
            show(&copied, args)?;
            Ok(Outcome::Done)
        }
        Err(error) => failed(error),
    }
}

/// Turns the arguments into options.
fn options(args: &CopyArgs) -> CopyOptions {
    let mut verify = args.check.options();
    verify.skip_contents = args.skip_checkpoint_validation;
    let mut options = CopyOptions::default().with_verify(verify);
    options.overwrite = !args.no_clobber;
    options.threads = args.check.jobs.map_or(options.threads, usize::from);
    options
}

/// Says why nothing was copied: for what was found in the source, or because it can't be done.
fn failed(error: Error) -> Result<Outcome, Stop> {
    let Some(code) = error.finding().map(|finding| finding.code) else { return Err(error.into()) };
    talk("error", &error.to_string());
    talk("hint", hints::for_refusal(code));
    Ok(Outcome::NotValid)
}

/// Says what was copied.
fn show(copied: &Copied, args: &CopyArgs) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.output.json {
        return json::line(&mut out, copied);
    }
    if args.output.quiet {
        return Ok(());
    }
    let (from, to) = (visible_path(&copied.source), visible_path(&copied.destination));
    let files =
        if copied.files.len() > 1 { count(copied.files.len() as u64, "file") + ", " } else { String::new() };
    let (bytes, elapsed) = (size(copied.bytes), duration(copied.elapsed_ms));
    writeln!(out, "copied  {from} to {to}: {files}{bytes}, in {elapsed}")?;
    if let [file] = copied.files.as_slice() {
        let beside = match (file.marker, file.seal) {
            (true, true) => "; marker and seal beside it",
            (true, false) => "; marker beside it",
            (false, true) => "; seal beside it",
            (false, false) => "",
        };
        writeln!(out, "        read back as {}{beside}", file.digest)?;
    }
    if let Some(finding) = copied.report.reason() {
        writeln!(
            out,
            "        note: copied as it is, and {}: {}",
            finding.verdict,
            visible(&finding.message)
        )?;
    }
    Ok(())
}
