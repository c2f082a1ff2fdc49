//! The deeper levels: every item is opened and read as the file that it would be alone.

use std::path::Path;

use super::super::VerifyOptions;
use super::super::contents::Checked;
use super::super::file::{self, flaw_finding};
use super::super::managed::{differs, digest_of};
use super::super::size::unreadable;
use super::super::watched::Watched;
use super::shards::{Held, Item, Shard};
use super::spread::spread;
use crate::digest::Digest;
use crate::io::{FileSource, ScanSource, Section};
use crate::record::{Code, Finding, FormatKind, Integrity, Level, first_few, quoted};

/// What an item would be called as a file: it promises an archive, so that other bytes are damage.
const ITEM_NAME: &str = "item.pt";

/// Checks the items of all shards, and returns what was found in each shard.
pub(super) fn check(directory: &Path, shards: &[Shard<'_>], options: &VerifyOptions) -> Vec<Checked> {
    let size = |shard: &Shard<'_>| shard.items.iter().map(|item| item.range.end - item.range.start).sum();
    let sizes: Vec<u64> = shards.iter().map(size).collect();
    // Keys are asked of the whole.
    let level = options.level.min(Level::Load);
    let options = VerifyOptions { requirements: Vec::new(), ..options.clone().with_level(level) };
    spread(&sizes, options.threads, |at, threads| {
        let options = options.clone().with_threads(threads);
        match shards.get(at) {
            Some(shard) => check_shard(directory, shard, &options),
            None => Checked::new(FormatKind::TorchDistributed, None),
        }
    })
}

/// Checks the items of one shard, on one open file.
fn check_shard(directory: &Path, shard: &Shard<'_>, options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::TorchDistributed, Some(options.level.min(Level::Load)));
    let path = directory.join(shard.name);
    let opened = if options.fresh { FileSource::open_fresh(&path) } else { FileSource::open(&path) };
    match opened {
        Ok(source) => {
            check_items(&source, shard, options, &mut checked);
            file::note_change(&source, &mut checked);
        }
        Err(error) => checked.findings.push(unreadable(Level::Size, &error)),
    }
    checked
}

/// Checks items, and sums up what was found: the notes, and of what is wrong the first few.
fn check_items(source: &dyn ScanSource, shard: &Shard<'_>, options: &VerifyOptions, checked: &mut Checked) {
    let sizes: Vec<u64> = shard.items.iter().map(|item| item.range.end - item.range.start).collect();
    let parts = spread(&sizes, options.threads, |at, threads| {
        let options = options.clone().with_threads(threads);
        shard.items.get(at).map(|item| check_item(source, item, &options))
    });
    let parts: Vec<Checked> = parts.into_iter().flatten().collect();
    let mut integrity = parts.iter().map(|part| part.integrity);
    let first = integrity.next().unwrap_or(Integrity::None);
    checked.integrity = integrity.fold(first, Integrity::and);
    let findings = parts.into_iter().flat_map(|part| part.findings);
    let (failures, notes): (Vec<_>, Vec<_>) = findings.partition(Finding::is_failure);
    checked.findings.extend(first_few(gravest_first(failures), |finding| finding, "items are wrong"));
    checked.findings.extend(notes);
}

/// Puts the gravest findings first, so that those which are summed up aren't graver than the sum.
fn gravest_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    findings
}

/// Checks one item, and says where its findings lie.
fn check_item(source: &dyn ScanSource, item: &Item<'_>, options: &VerifyOptions) -> Checked {
    let mut part = if let Some(first) = item.place.transforms.first() {
        not_opened(item, first)
    } else {
        match Section::new(source, item.range.clone()) {
            Ok(section) => check_section(&section, item, options),
            Err(error) => {
                let mut part = Checked::new(FormatKind::Unknown, Some(Level::Container));
                part.findings.push(flaw_finding(error.into(), Level::Container));
                part
            }
        }
    };
    for finding in &mut part.findings {
        place(finding, item);
    }
    part
}

/// Checks an item's bytes as a file of their own, and whether they are what the metadata says.
fn check_section(section: &dyn ScanSource, item: &Item<'_>, options: &VerifyOptions) -> Checked {
    if let Some(digest) = item.place.digest.as_deref().and_then(digest_of) {
        return check_digest(section, digest, options);
    }
    let is_value = item.holds.iter().all(|held| matches!(held, Held::Value(_)));
    let mut part = file::check_source(Path::new(ITEM_NAME), section, options);
    // PyTorch reads values with its unrestricted reader: objects are what they are made for.
    if is_value {
        part.settle_for_intact();
        part.findings.retain(|finding| finding.code != Code::TorchRefuses);
    }
    if !part.failed() {
        part.findings.extend(other_proof(item, &part));
    }
    if options.level >= Level::Load && !part.failed() {
        let found = item.holds.iter().find_map(|held| disagreement(held, &part));
        part.findings.extend(found);
    }
    part
}

/// Checks bytes of which nothing is known but their digest: ckpt keeps what another program had made of a value.
fn check_digest(section: &dyn ScanSource, digest: Digest, options: &VerifyOptions) -> Checked {
    let mut part = Checked::new(FormatKind::Unknown, Some(options.level));
    part.bytes = section.len();
    if options.level < Level::Load {
        return part;
    }
    match differs(&Watched::new(section, options), digest, options) {
        Ok(false) => part.integrity = Integrity::Full,
        Ok(true) => {
            let message = "the bytes aren't those that the metadata was made of";
            part.findings.push(Finding::corrupted(Code::ChecksumMismatch, Level::Load, message));
        }
        Err(finding) => part.findings.push(*finding),
    }
    part
}

/// Holds the proof that an item carries to the one that the metadata names.
fn other_proof(item: &Item<'_>, part: &Checked) -> Option<Finding> {
    let named = item.place.proof.as_deref()?;
    match part.proof_id.as_deref() {
        Some(own) if own == named => None,
        Some(_) => {
            let message = "the item carries another proof than the metadata names: it is of another save";
            Some(Finding::incompatible(Code::IndexDisagrees, Level::Container, message))
        }
        None => {
            let message =
                "the item carries no proof, and the metadata names one: another program wrote it anew";
            Some(Finding::corrupted(Code::ProofDamaged, Level::Container, message))
        }
    }
}

/// The note for bytes that only PyTorch's extensions can read.
fn not_opened(item: &Item<'_>, transform: &str) -> Checked {
    let mut part = Checked::new(FormatKind::Unknown, Some(Level::Container));
    part.bytes = item.range.end - item.range.start;
    let message =
        format!("stored through {}, which isn't known here: only its place was checked", quoted(transform));
    part.findings.push(Finding::note(Code::ContentsNotChecked, Level::Container, message));
    part
}

/// Says where an item's finding lies: in the shard, and in which tensor.
fn place(finding: &mut Finding, item: &Item<'_>) {
    if let Some(offset) = &mut finding.at.offset {
        *offset = offset.saturating_add(item.range.start);
    } else if finding.is_failure() {
        finding.at.offset = Some(item.range.start);
    }
    // A note is the same for many items, and told once.
    if !finding.is_failure() {
        return;
    }
    match item.holds.first() {
        Some(Held::Chunk(tensor, _)) => finding.at.tensor = Some(tensor.name.clone()),
        Some(Held::Value(value)) => {
            finding.message = format!("the value {}: {}", quoted(&value.name), finding.message);
        }
        None => {}
    }
}

/// Says how a whole item isn't the chunk that the metadata describes. A value may be anything.
fn disagreement(held: &Held<'_>, part: &Checked) -> Option<Finding> {
    let Held::Chunk(tensor, chunk) = held else { return None };
    let found = match part.contents.as_ref()?.tensors.as_slice() {
        [one] if one.name.is_empty() => one,
        _ => {
            let message = "the item is no tensor, and the metadata says that it is: it is of another save";
            return Some(Finding::incompatible(Code::IndexDisagrees, Level::Load, message));
        }
    };
    let is_same = found.dtype == tensor.dtype && found.shape == chunk.sizes;
    (!is_same).then(|| {
        let message = format!(
            "the item is a tensor of {} {:?}, and the metadata says {} {:?}: it is of another save",
            found.dtype, found.shape, tensor.dtype, chunk.sizes
        );
        Finding::incompatible(Code::IndexDisagrees, Level::Load, message)
    })
}
