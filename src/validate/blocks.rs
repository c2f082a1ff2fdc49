//! Blocks of a file, held against the digests that were stored for them: by a proof or by a seal.

use std::ops::Range;

use super::VerifyOptions;
use super::contents::Checked;
use super::file::flaw_finding;
use crate::digest::{Algorithm, Digest};
use crate::io::{ScanOptions, ScanSource};
use crate::record::{Code, Finding, Integrity, Level, Seal, first_few};

/// Computes the digest of each block, and returns those that haven't the one that is expected of them.
/// `progress` hears of the bytes.
///
/// # Errors
///
/// The finding for bytes that can't be read.
pub(super) fn damaged(
    source: &dyn ScanSource,
    blocks: Vec<Range<u64>>,
    expected: &[Digest],
    algorithm: Algorithm,
    scan: &ScanOptions<'_>,
) -> Result<Vec<Range<u64>>, Finding> {
    let digests =
        source.digests(&blocks, algorithm, scan).map_err(|error| flaw_finding(error.into(), Level::Load))?;
    let pairs = blocks.into_iter().zip(digests.iter().zip(expected));
    Ok(pairs.filter(|(_, (found, expected))| found != expected).map(|(block, _)| block).collect())
}

/// The finding for a block that hasn't its digest. `when` says what the digest is of.
pub(super) fn mismatch(block: &Range<u64>, when: &str) -> Finding {
    let message =
        format!("within these {} bytes, at least one isn't what was {when}", block.end - block.start);
    Finding::corrupted(Code::ChecksumMismatch, Level::Load, message).at_offset(block.start)
}

/// Holds the whole file against its seal. One that fits vouches for every byte.
///
/// A file that its own proof vouches for needs no seal, and may have been written anew since it was sealed.
pub(super) fn check_seal(
    source: &dyn ScanSource,
    seal: &Seal,
    options: &VerifyOptions,
    checked: &mut Checked,
) {
    let Some(digests) = seal.digests.as_ref().filter(|_| seal.bytes == source.len()) else { return };
    let scan = ScanOptions::default().with_threads(options.threads);
    match damaged(source, seal.windows(), &digests.blocks, digests.algorithm, &scan) {
        Ok(blocks) if blocks.is_empty() => {
            checked.integrity = Integrity::Full;
            checked.findings.retain(|finding| finding.code != Code::NoChecksums);
        }
        Ok(blocks) => {
            let finding = |block| mismatch(&block, "sealed (damaged, or rewritten since)");
            checked.findings.extend(first_few(blocks, finding, "sealed blocks are damaged"));
        }
        Err(finding) => checked.findings.push(finding),
    }
}
