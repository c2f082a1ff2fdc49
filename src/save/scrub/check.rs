//! One checkpoint, read through.

use std::ops::Range;
use std::path::Path;

use super::rate::Bucket;
use crate::Error;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::io::{FileSource, ReadAt as _, ScanOptions, ScanSource as _};
use crate::record::{BLOCK_BYTES, Code, Finding, Integrity, Level, Report, block_ranges};
use crate::validate::{Batch, Candidate, ProgressSink, VerifyOptions, parts};

/// Verifies a checkpoint, by itself: a batch of one turns a fault of the check into a report, and knows what
/// could not even be listed.
pub(super) fn verify(candidate: &Candidate, options: &VerifyOptions) -> Option<Report> {
    Batch::new(vec![candidate.clone()], options.clone()).next()
}

/// Returns whether a report leaves bytes unread that a scrub is to read: nothing that the files carry
/// vouches for all of their bytes, and nothing kept the check from going on.
pub(super) fn leaves_unread(report: &Report) -> bool {
    let is_readable = report.findings.iter().all(|finding| !is_damage(finding));
    report.level >= Some(Level::Load) && report.integrity != Integrity::Full && is_readable
}

/// Returns whether a finding says that there is no point in reading on.
fn is_damage(finding: &Finding) -> bool {
    use crate::record::Verdict::{Corrupted, Unreadable};
    matches!(finding.verdict, Corrupted | Unreadable) || finding.code == Code::ChangedWhileRead
}

/// Reads all bytes of a checkpoint's files from the device, and returns the digest of them all: of each file's
/// length and its windows' digests, in the order of the files.
///
/// # Errors
///
/// The files can't be listed or read.
pub(super) fn contents(
    path: &Path,
    threads: usize,
    bucket: &Bucket,
    progress: Option<&ProgressSink>,
) -> Result<Digest, Error> {
    let mut hasher = Hasher::new(Algorithm::Crc64Nvme);
    let tell = |bytes| {
        bucket.take(bytes);
        if let Some(progress) = progress {
            progress.add(bytes);
        }
    };
    let options = ScanOptions::default().with_threads(threads).with_progress(&tell);
    for part in parts(path)?.files {
        let failed = |error| Error::io(&part.path, "read it", error);
        let source = FileSource::open_fresh(&part.path).map_err(failed)?;
        let blocks: Vec<Range<u64>> = block_ranges(&[0..source.len()], BLOCK_BYTES);
        let digests = source.digests(&blocks, Algorithm::Crc64Nvme, &options).map_err(failed)?;
        hasher.update(&source.len().to_le_bytes());
        for digest in &digests {
            hasher.update(digest.as_bytes());
        }
    }
    Ok(hasher.finish())
}

/// The finding for bytes that are others than when they were last read, though nobody wrote to the file.
pub(super) fn changed_in_silence(found: &str, remembered: &str) -> Finding {
    let message = format!(
        "the bytes have the digest {found}, and had {remembered} when they were last read, and neither size nor \
         time of modification changed since"
    );
    Finding::corrupted(Code::ChecksumMismatch, Level::Load, message)
}

/// The finding for bytes that could not be read.
pub(super) fn unread(error: &Error) -> Finding {
    Finding::unreadable(Code::IoError, Level::Load, error.to_string())
}
