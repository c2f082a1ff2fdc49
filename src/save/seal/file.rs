use std::path::Path;

use super::SealOptions;
use crate::Error;
use crate::digest::Algorithm;
use crate::io::commit::{LocalDisk, write_small};
use crate::io::{FileSource, ReadAt as _, ScanOptions, ScanSource as _};
use crate::record::{
    BLOCK_BYTES, Code, Finding, Level, Report, Seal, SealDigests, SealOutcome, Sealed, Verdict, block_ranges,
};
use crate::save::companions::read_seal;
use crate::save::names::beside;
use crate::validate::{proof_of, verify, verify_source};

/// Notes the size and the digests of a file in `NAME.seal` beside it, so that a later check can tell damage,
/// and where.
///
/// The file is verified first, and a corrupted one isn't sealed. One that carries a proof needs no seal; a seal
/// that holds is left. What became of the file is said by [`Sealed::outcome`]: that it was refused is no
/// error of this function.
///
/// # Errors
///
/// The seal can't be written, or the file changed while it was read.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("model.safetensors");
/// # std::fs::write(&path, b"\x02\0\0\0\0\0\0\0{}")?;
/// use ckpt::record::SealOutcome;
/// use ckpt::save::{SealOptions, seal};
///
/// assert_eq!(seal(&path, &SealOptions::default())?.outcome, SealOutcome::Sealed);
/// assert_eq!(seal(&path, &SealOptions::default())?.outcome, SealOutcome::Holds);
/// let report = ckpt::verify(&path, &Default::default());
/// assert_eq!(report.integrity, ckpt::Integrity::Full);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(path: &Path, options: &SealOptions) -> Result<Sealed, Error> {
    let Ok(source) = FileSource::open_fresh(path) else {
        // The check says why.
        return Ok(refused(path, verify(path, &options.verify)));
    };
    if proof_of(&source).is_some() {
        let report = verify(path, &options.verify);
        let outcome = if is_damaged(&report) { SealOutcome::Refused } else { SealOutcome::Proven };
        return Ok(of(path, outcome, report));
    }
    match read_seal(path) {
        Ok(None) => seal_anew(path, &source, SealOutcome::Sealed, options),
        Ok(Some((_, existing))) => hold(path, &source, &existing, options),
        Err(_) if options.renew => seal_anew(path, &source, SealOutcome::Renewed, options),
        Err(error) => {
            let report = verify_source(path, &source, &options.verify);
            Ok(Sealed { reason: Some(error.to_string()), ..of(path, SealOutcome::Broken, report) })
        }
    }
}

/// Holds a file against its seal.
fn hold(path: &Path, source: &FileSource, seal: &Seal, options: &SealOptions) -> Result<Sealed, Error> {
    let report = verify(path, &options.verify);
    let holds = match &seal.digests {
        // An older seal, of the size alone: better than none, and not what was asked for.
        None => return seal_anew(path, source, SealOutcome::Renewed, options),
        Some(_) if seal.bytes != source.len() => false,
        Some(digests) => {
            let found = blocks(path, source, digests.algorithm, digests.block_bytes, options)?;
            found.blocks == digests.blocks
        }
    };
    if holds && is_damaged(&report) {
        return Ok(refused(path, report));
    }
    if holds {
        let digest = seal.digests.as_ref().map(|digests| digests.id(seal.bytes));
        return Ok(Sealed { digest, ..of(path, SealOutcome::Holds, report) });
    }
    if options.renew {
        return seal_anew(path, source, SealOutcome::Renewed, options);
    }
    let reason = "the file isn't the one that was sealed: it was damaged, or rewritten since".to_owned();
    Ok(Sealed { reason: Some(reason), ..of(path, SealOutcome::Broken, report) })
}

/// Verifies a file for itself, and writes its seal.
fn seal_anew(
    path: &Path,
    source: &FileSource,
    outcome: SealOutcome,
    options: &SealOptions,
) -> Result<Sealed, Error> {
    // Where there is a seal, it doesn't hold, and the check must not go by it.
    let report = match outcome {
        SealOutcome::Renewed => verify_source(path, source, &options.verify),
        _ => verify(path, &options.verify),
    };
    if is_damaged(&report) {
        return Ok(refused(path, report));
    }
    let digests = blocks(path, source, options.algorithm, BLOCK_BYTES, options)?;
    if source.changed().map_err(|error| Error::io(path, "look at it", error))? {
        let message = "the file changed while it was read: seal it when it is finished";
        return Err(Error::found(path, Finding::unreadable(Code::ChangedWhileRead, Level::Load, message)));
    }
    let digest = Some(digests.id(source.len()));
    let seal = Seal { bytes: source.len(), digests: Some(digests) };
    let place = beside(path, Seal::SUFFIX);
    write_small(&LocalDisk, &place, seal.encode().as_bytes(), options.durability)?;
    Ok(Sealed { digest, ..of(path, outcome, report) })
}

/// Computes the digests of a file's windows, from the device.
fn blocks(
    path: &Path,
    source: &FileSource,
    algorithm: Algorithm,
    block_bytes: u64,
    options: &SealOptions,
) -> Result<SealDigests, Error> {
    let ranges = block_ranges(&[0..source.len()], block_bytes);
    let progress = |bytes| options.verify.progress.iter().for_each(|progress| progress.add(bytes));
    let mut scan = ScanOptions::default().with_threads(options.verify.threads).with_progress(&progress);
    scan.cancel = options.verify.cancel.as_ref();
    let blocks =
        source.digests(&ranges, algorithm, &scan).map_err(|error| Error::io(path, "read it", error))?;
    Ok(SealDigests { algorithm, block_bytes, blocks })
}

/// Returns whether the bytes can't be vouched for. What is merely of no use here can: a seal says that it
/// stayed as it is.
fn is_damaged(report: &Report) -> bool {
    matches!(report.verdict, Verdict::Corrupted | Verdict::Unreadable)
}

/// What became of a file that isn't sealed for what was found in it.
fn refused(path: &Path, report: Report) -> Sealed {
    of(path, SealOutcome::Refused, report)
}

/// What became of a file.
fn of(path: &Path, outcome: SealOutcome, report: Report) -> Sealed {
    let reason = report.reason().filter(|_| outcome == SealOutcome::Refused).map(reason);
    Sealed { path: path.to_owned(), outcome, bytes: report.bytes, digest: None, reason, report: Some(report) }
}

/// Returns a finding in words.
fn reason(finding: &Finding) -> String {
    format!("{} ({}): {}{}", finding.verdict, finding.code, finding.message, finding.at)
}
