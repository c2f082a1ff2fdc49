//! The deeper levels: every item is opened and read as the file that it would be alone.

use std::path::Path;

use super::super::VerifyOptions;
use super::super::contents::Checked;
use super::super::file;
use super::super::size::unreadable;
use super::super::watched::Watched;
use super::shards::{Held, Item, Shard};
use super::spread::spread;
use crate::io::{FileSource, ScanSource, Section};
use crate::record::{Code, Finding, FormatKind, Integrity, Level, first_few, quoted};

/// What an item would be called as a file: it promises an archive, so that other bytes are damage.
const ITEM_NAME: &str = "item.pt";

/// Checks the items of all shards, and returns what was found in each shard.
pub(super) fn check(directory: &Path, shards: &[Shard<'_>], options: &VerifyOptions) -> Vec<Checked> {
    let size = |shard: &Shard<'_>| shard.items.iter().map(|item| item.range.end - item.range.start).sum();
    let sizes: Vec<u64> = shards.iter().map(size).collect();
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
            check_items(&Watched::new(&source, options), shard, options, &mut checked);
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

/// Checks one item as a file of its own, and whether it is what the metadata says.
fn check_item(source: &dyn ScanSource, item: &Item<'_>, options: &VerifyOptions) -> Checked {
    if let Some(first) = item.transforms.first() {
        return not_opened(item, first);
    }
    let section = Section::new(source, &item.range);
    let mut part = file::check_source(Path::new(ITEM_NAME), &section, options);
    if options.level >= Level::Load && !part.failed() {
        let found = item.holds.iter().find_map(|held| disagreement(held, &part));
        part.findings.extend(found);
    }
    // PyTorch reads them with its unrestricted reader.
    let is_value = item.holds.iter().all(|held| matches!(held, Held::Value(_)));
    part.findings.retain(|finding| !(is_value && finding.code == Code::TorchRefuses));
    for finding in &mut part.findings {
        place(finding, item);
    }
    part
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
