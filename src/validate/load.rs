//! Level 3: the structure is read, every tensor resolves, every byte with a checksum is checked.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::VerifyOptions;
use super::blocks;
use super::container::Opened;
use super::contents::{Checked, Contents};
use super::file::flaw_finding;
use crate::format::torch::archive::{TorchArchive, checksum_mismatch};
use crate::format::torch::{Checkpoint, StorageData, unsafe_names};
use crate::format::zip::{Entry, Method, inflate_checksum};
use crate::format::{Proven, read_vec};
use crate::io::{ScanOptions, ScanSource};
use crate::record::{Code, Finding, FormatKind, Integrity, Level, first_few};
use crate::tensor::{Body, Node};

/// A plain pickle is looked through for what it asks for up to this size.
const MAX_PICKLE_BYTES: u64 = 64 << 20;

/// Checks what the container holds, and adds what was found to `checked`. The progress sink hears of each
/// byte of the file once, whatever the format: also of those that need no reading.
///
/// `proven` is the proof that the file carries. Where its head isn't the one that was saved, the digests of the
/// data can't be believed either.
pub(super) fn check(
    source: &dyn ScanSource,
    opened: &Opened,
    proven: Option<&Proven>,
    options: &VerifyOptions,
    checked: &mut Checked,
) {
    let intact = proven.filter(|proven| proven.is_head_intact());
    match opened {
        Opened::Safetensors(places) => {
            if let Some(intact) = intact {
                let damaged = check_blocks(source, intact, options, checked);
                checked.findings.extend(damaged_tensors(&damaged, places, checked.contents.as_ref()));
                return;
            }
            if proven.is_none() {
                let message = "the format has no checksums: damage inside a tensor can't be seen";
                checked.findings.push(Finding::note(Code::NoChecksums, Level::Load, message));
            }
            tell(options, source.len());
        }
        Opened::Legacy(checkpoint) => {
            let message =
                "the format of before PyTorch 1.6 has no checksums: damage inside a tensor can't be seen";
            checked.findings.push(Finding::note(Code::NoChecksums, Level::Load, message));
            take_contents(checkpoint, options, checked);
            tell(options, source.len());
        }
        Opened::Archive(archive) => check_archive(source, archive, intact, options, checked),
        Opened::Pickle => {
            checked.findings.extend(look_through(source, options));
            tell(options, source.len());
        }
    }
}

/// Tells the progress sink of bytes that are done.
fn tell(options: &VerifyOptions, bytes: u64) {
    if let Some(progress) = &options.progress {
        progress.add(bytes);
    }
}

/// Holds the data against the digests of a proof whose head is intact, and returns the damaged blocks. Every
/// byte of the file was held against a digest then: the other ones are the head's.
fn check_blocks(
    source: &dyn ScanSource,
    proven: &Proven,
    options: &VerifyOptions,
    checked: &mut Checked,
) -> Vec<Range<u64>> {
    let progress = |bytes| tell(options, bytes);
    let scan = ScanOptions::default().with_threads(options.threads).with_progress(&progress);
    let data: u64 = proven.data.iter().map(|range| range.end - range.start).sum();
    tell(options, source.len().saturating_sub(data));
    let algorithm = proven.proof.root.algorithm();
    match blocks::damaged(source, proven.blocks(), &proven.proof.blocks, algorithm, &scan) {
        Ok(damaged) => {
            checked.integrity = Integrity::Full;
            damaged
        }
        Err(finding) => {
            checked.findings.push(finding);
            Vec::new()
        }
    }
}

/// The findings for damaged blocks of a safetensors file. A block is part of one tensor.
fn damaged_tensors(
    damaged: &[Range<u64>],
    places: &[Range<u64>],
    contents: Option<&Contents>,
) -> Vec<Finding> {
    let finding = |block: &Range<u64>| {
        let finding = blocks::mismatch(block, "saved");
        let at = places.iter().position(|place| place.contains(&block.start));
        match at.and_then(|at| contents?.tensors.get(at)) {
            Some(tensor) => finding.at_tensor(&tensor.name),
            None => finding,
        }
    };
    first_few(damaged, finding, "blocks of tensors are damaged")
}

/// Reads the pickle first, then checks every record: the pickle is small, and says what the rest is. A pickle
/// that can't be read doesn't stop the records' check, which tells how far damage goes.
fn check_archive(
    source: &dyn ScanSource,
    archive: &TorchArchive,
    intact: Option<&Proven>,
    options: &VerifyOptions,
    checked: &mut Checked,
) {
    let checkpoint = if archive.kind == FormatKind::TorchZip {
        read_values(source, archive, options, checked)
    } else {
        None
    };
    if let Some(intact) = intact {
        let damaged = check_blocks(source, intact, options, checked);
        checked.findings.extend(damaged_storages(&damaged, archive, checkpoint.as_ref()));
        // ckpt deflates nothing; what is deflated all the same must come out at the promised size.
        let deflated = archive.archive.entries.iter().filter(|entry| entry.method == Method::Deflated);
        checked.findings.extend(deflated.filter_map(|entry| check_deflated(source, entry)));
        return;
    }
    let findings = check_checksums(source, archive, options, checked);
    checked.findings.extend(findings);
    checked.integrity = integrity(&archive.archive.entries);
    if checked.integrity != Integrity::Full {
        let what =
            if checked.integrity == Integrity::None { "no record" } else { "only some of the records" };
        let message = format!("{what} of the archive carries a checksum: its writer had them switched off");
        checked.findings.push(Finding::note(Code::NoChecksums, Level::Load, message));
    }
}

/// Reads the values of a checkpoint, and takes up what it holds.
fn read_values(
    source: &dyn ScanSource,
    archive: &TorchArchive,
    options: &VerifyOptions,
    checked: &mut Checked,
) -> Option<Checkpoint> {
    match archive.read(source, &options.read_options()) {
        Ok((checkpoint, findings)) => {
            checked.findings.extend(findings);
            take_contents(&checkpoint, options, checked);
            if let Some(contents) = &mut checked.contents {
                contents.tagged = archive.is_tagged();
                contents.metadata.clone_from(&archive.metadata);
            }
            Some(checkpoint)
        }
        Err(flaw) => {
            checked.findings.push(flaw_finding(flaw, Level::Load));
            None
        }
    }
}

/// The findings for damaged blocks of an archive: with the record, and the first tensor that is a view of it.
fn damaged_storages(
    damaged: &[Range<u64>],
    archive: &TorchArchive,
    checkpoint: Option<&Checkpoint>,
) -> Vec<Finding> {
    if damaged.is_empty() {
        return Vec::new();
    }
    let views = checkpoint.map(first_views).unwrap_or_default();
    let finding = |block: &Range<u64>| {
        let mut finding = blocks::mismatch(block, "saved");
        let entry = archive.archive.entries.iter().find(|entry| entry.data.contains(&block.start));
        if let Some(entry) = entry {
            finding = finding.at_record(&entry.name);
            if let Some(name) = views.get(&entry.data.start) {
                finding = finding.at_tensor(name);
            }
        }
        finding
    };
    first_few(damaged, finding, "blocks of storages are damaged")
}

/// Finds the first tensor that is a view of each storage, by where the storage begins in the file.
fn first_views(checkpoint: &Checkpoint) -> HashMap<u64, String> {
    let mut views = HashMap::new();
    // What can't be listed has been told already.
    let _ = checkpoint.tree.walk(|leaf| {
        if let Node::Tensor(tensor) = leaf.node
            && let Body::Strided { storage, .. } = &tensor.body
            && let Some(StorageData::At(place)) =
                usize::try_from(storage.0).ok().and_then(|at| checkpoint.data.get(at))
        {
            views.entry(place.start).or_insert_with(|| leaf.path.to_owned());
        }
    });
    views
}

/// Tells how many of the records carry a checksum. Empty ones have nothing to vouch for.
fn integrity(entries: &[Entry]) -> Integrity {
    let mut records = entries.iter().filter(|entry| entry.size > 0);
    let Some(first) = records.next() else { return Integrity::None };
    let of = |entry: &Entry| if entry.crc32.is_some() { Integrity::Full } else { Integrity::None };
    records.fold(of(first), |all, entry| all.and(of(entry)))
}

/// Holds every record against its CRC-32, but those already known to be wrong.
fn check_checksums(
    source: &dyn ScanSource,
    archive: &TorchArchive,
    options: &VerifyOptions,
    checked: &Checked,
) -> Vec<Finding> {
    let known: HashSet<&str> = checked
        .findings
        .iter()
        .filter(|finding| finding.is_failure() && finding.level == Level::Load)
        .filter(|finding| {
            matches!(finding.code, Code::ChecksumMismatch | Code::StorageSize | Code::TooComplex)
        })
        .filter_map(|finding| finding.at.record.as_deref())
        .collect();
    let entries = &archive.archive.entries;
    // A deflated record can be checked without a checksum: it must come out at the promised size.
    // PyTorch doesn't look, and gives out what was in memory where the data ends early.
    let checkable = |entry: &&Entry| entry.crc32.is_some() || entry.method == Method::Deflated;
    let wanted = entries.iter().filter(checkable).filter(|entry| !known.contains(entry.name.as_str()));
    let (stored, deflated): (Vec<&Entry>, Vec<&Entry>) =
        wanted.partition(|entry| entry.method == Method::Stored);
    let mut findings = check_stored(source, &stored, options);
    for entry in deflated {
        findings.extend(check_deflated(source, entry));
        tell(options, entry.stored);
    }
    let covered: u64 = entries.iter().filter(checkable).map(|entry| entry.stored).sum();
    tell(options, source.len().saturating_sub(covered));
    findings
}

/// Checks the records that lie in the file as they are: all at once, so that the scan can read in the order
/// of the disk with several threads. One read error is one finding, not one per record.
fn check_stored(source: &dyn ScanSource, entries: &[&Entry], options: &VerifyOptions) -> Vec<Finding> {
    let ranges: Vec<Range<u64>> = entries.iter().map(|entry| entry.data.clone()).collect();
    let progress = |bytes| tell(options, bytes);
    let scan = ScanOptions::default().with_threads(options.threads).with_progress(&progress);
    let checksums = match source.checksum(&ranges, &scan) {
        Ok(checksums) => checksums,
        Err(error) => return vec![flaw_finding(error.into(), Level::Load)],
    };
    let pairs = entries.iter().zip(checksums);
    pairs
        .filter_map(|(entry, checksum)| {
            let expected = entry.crc32.filter(|expected| *expected != checksum.value())?;
            Some(checksum_mismatch(&entry.name, expected, checksum.value()).at_offset(entry.data.start))
        })
        .collect()
}

/// Checks a record that is compressed: what comes out counts.
fn check_deflated(source: &dyn ScanSource, entry: &Entry) -> Option<Finding> {
    match inflate_checksum(source, entry) {
        Ok(checksum) => {
            let expected = entry.crc32.filter(|expected| *expected != checksum.value())?;
            Some(checksum_mismatch(&entry.name, expected, checksum.value()).at_offset(entry.data.start))
        }
        Err(flaw) => Some(flaw_finding(flaw, Level::Load)),
    }
}

/// Takes up what a checkpoint holds.
fn take_contents(checkpoint: &Checkpoint, options: &VerifyOptions, checked: &mut Checked) {
    checked.findings.extend(checkpoint.findings.iter().cloned());
    match Contents::of(&checkpoint.tree, options.level == Level::Keys) {
        Ok(contents) => checked.contents = Some(contents),
        Err(finding) => checked.findings.push(*finding),
    }
}

/// A pickle that is no checkpoint can still be told to be unsafe.
fn look_through(source: &dyn ScanSource, options: &VerifyOptions) -> Vec<Finding> {
    let Ok(bytes) = read_vec(source, 0..source.len().min(MAX_PICKLE_BYTES)) else { return Vec::new() };
    unsafe_names(&bytes, &options.read_options())
}
