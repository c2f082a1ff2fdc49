//! `ckpt seal`.

use std::io::{self, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::args::SealArgs;
use super::exit::{Outcome, Stop};
use super::output::Document;
use super::progress::Progress;
use super::text::{count, duration, size, visible, visible_path};
use super::{hints, talk};
use crate::error::Error;
use crate::record::{SEAL_SCHEMA, SealOutcome, Sealed};
use crate::save::{SealOptions, seal};
use crate::validate::{Candidate, Discovery, Look, discover, parts};

/// Seals what is at the paths.
pub(super) fn run(args: &SealArgs) -> Result<Outcome, Stop> {
    let started = Instant::now();
    let Discovery { candidates, problems } = discover(&args.paths, Look::Contents);
    for problem in &problems {
        talk("error", &problem.to_string());
        talk("hint", hints::for_directory(problem.kind()));
    }
    let mut output = Output::open(args);
    let mut counts = seal_all(args, &candidates, &mut output)?;
    counts.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.finish(&counts, &problems)?;
    Ok(match (problems.is_empty(), counts.broken + counts.refused) {
        (false, _) => Outcome::Directory,
        (true, 0) => Outcome::Done,
        (true, _) => Outcome::NotValid,
    })
}

/// Seals each candidate, and says what became of it. One that can't be sealed doesn't stop the rest.
fn seal_all(args: &SealArgs, candidates: &[Candidate], output: &mut Output) -> Result<Counts, Stop> {
    let mut counts = Counts::default();
    let bytes = candidates.iter().fold(0_u64, |sum, candidate| sum.saturating_add(candidate.bytes));
    // Each byte is read to be verified, and to be digested.
    let mut progress = Progress::over_bytes(bytes.saturating_mul(2), args.output);
    let mut options = SealOptions::default().with_verify(args.check.options());
    options.algorithm = args.algorithm.unwrap_or_default();
    options.renew = args.renew;
    options.verify.progress = progress.sink();
    for path in candidates.iter().flat_map(files) {
        let sealed = seal(&path, &options).unwrap_or_else(|error| unsealed(&path, &error));
        counts.add(&sealed);
        progress.report(sealed.outcome.is_good(), || output.file(&sealed))?;
    }
    Ok(counts)
}

/// Returns the files of a candidate that hold tensors or other state. Of what can't be listed, the sealing
/// itself says why.
fn files(candidate: &Candidate) -> Vec<PathBuf> {
    match parts(&candidate.path) {
        Ok(parts) => parts.files.into_iter().filter(|part| part.is_state).map(|part| part.path).collect(),
        Err(_) => vec![candidate.path.clone()],
    }
}

/// What became of a file that an error kept from being sealed.
fn unsealed(path: &Path, error: &Error) -> Sealed {
    Sealed {
        path: path.to_owned(),
        outcome: SealOutcome::Refused,
        bytes: 0,
        digest: None,
        reason: Some(error.to_string()),
        report: None,
    }
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counts {
    files: u64,
    sealed: u64,
    renewed: u64,
    holds: u64,
    proven: u64,
    broken: u64,
    refused: u64,
    bytes: u64,
    elapsed_ms: u64,
}

impl Counts {
    fn add(&mut self, sealed: &Sealed) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(sealed.bytes);
        *match sealed.outcome {
            SealOutcome::Sealed => &mut self.sealed,
            SealOutcome::Renewed => &mut self.renewed,
            SealOutcome::Holds => &mut self.holds,
            SealOutcome::Proven => &mut self.proven,
            SealOutcome::Broken => &mut self.broken,
            SealOutcome::Refused => &mut self.refused,
        } += 1;
    }

    /// Returns the counts with their words, worst first.
    fn by_outcome(&self) -> [(u64, SealOutcome); 6] {
        [
            (self.refused, SealOutcome::Refused),
            (self.broken, SealOutcome::Broken),
            (self.sealed, SealOutcome::Sealed),
            (self.renewed, SealOutcome::Renewed),
            (self.holds, SealOutcome::Holds),
            (self.proven, SealOutcome::Proven),
        ]
    }
}

/// Where the outcomes go.
enum Output {
    Json(Document<StdoutLock<'static>>),
    Lines { out: StdoutLock<'static>, is_quiet: bool },
}

impl Output {
    fn open(args: &SealArgs) -> Self {
        let out = io::stdout().lock();
        if args.output.json {
            Self::Json(Document::of(out, SEAL_SCHEMA, "files"))
        } else {
            Self::Lines { out, is_quiet: args.output.quiet }
        }
    }

    /// Takes the next file.
    fn file(&mut self, sealed: &Sealed) -> io::Result<()> {
        match self {
            Self::Json(document) => document.add(sealed),
            Self::Lines { is_quiet, .. } if *is_quiet && sealed.outcome.is_good() => Ok(()),
            Self::Lines { out, .. } => line(out, sealed),
        }
    }

    /// Prints what comes behind the files.
    fn finish(&mut self, counts: &Counts, problems: &[Error]) -> io::Result<()> {
        match self {
            Self::Json(document) => document.end(counts, problems),
            Self::Lines { is_quiet: true, .. } => Ok(()),
            Self::Lines { .. } if counts.files == 0 => Ok(()),
            Self::Lines { out, .. } => {
                let (bytes, elapsed) = (size(counts.bytes), duration(counts.elapsed_ms));
                let outcomes: Vec<String> = counts
                    .by_outcome()
                    .iter()
                    .filter(|(number, _)| *number > 0)
                    .map(|(number, outcome)| format!("{number} {outcome}"))
                    .collect();
                let files = count(counts.files, "file");
                writeln!(out, "\n{files}, {bytes}, in {elapsed}: {}", outcomes.join(", "))
            }
        }
    }
}

/// Prints what became of a file, and what to do about it.
fn line(out: &mut impl Write, sealed: &Sealed) -> io::Result<()> {
    let path = visible_path(&sealed.path);
    let bytes = size(sealed.bytes);
    writeln!(
        out,
        "{:8} {path}  {bytes}{}",
        sealed.outcome.as_str(),
        match &sealed.digest {
            Some(digest) => format!("  {digest}"),
            None => String::new(),
        }
    )?;
    if let Some(reason) = &sealed.reason {
        writeln!(out, "         {}", visible(reason))?;
    }
    match sealed.outcome {
        SealOutcome::Broken => writeln!(out, "         hint: {}", hints::BROKEN_SEAL),
        SealOutcome::Proven => writeln!(out, "         it carries a proof, and needs no seal"),
        SealOutcome::Refused => {
            let code = sealed.report.as_ref().and_then(|report| Some(report.reason()?.code));
            code.and_then(hints::for_code).map_or(Ok(()), |hint| writeln!(out, "         hint: {hint}"))
        }
        _ => Ok(()),
    }
}
