//! The first level: every shard is there, and reaches as far as its items do.

use std::fs::{self, Metadata};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use super::super::size::unreadable;
use crate::format::dcp::{Chunk, Place, Tensor, Value};
use crate::record::{Code, Finding, Level, first_few, quoted};

/// A file with the items that lie in it.
#[derive(Debug)]
pub(super) struct Shard<'a> {
    /// The name, relative to the directory.
    pub(super) name: &'a str,
    /// The items, in the order in which they begin.
    pub(super) items: Vec<Item<'a>>,
}

/// The bytes of an item, and what they stand for.
#[derive(Debug)]
pub(super) struct Item<'a> {
    /// Where they lie in the file.
    pub(super) range: Range<u64>,
    /// What the metadata says of them.
    pub(super) place: &'a Place,
    /// What they are: several chunks or values where these share their bytes.
    pub(super) holds: Vec<Held<'a>>,
}

/// What an item is said to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held<'a> {
    /// A chunk of a tensor.
    Chunk(&'a Tensor, &'a Chunk),
    /// A value that is no tensor.
    Value(&'a Value),
}

/// What the look at all shards gave.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The size of those that are there.
    pub(super) bytes: u64,
    /// The facts.
    pub(super) findings: Vec<Finding>,
}

/// Looks at the shards from outside; none is opened. Returns those whose items are wholly there as well.
///
/// `described` is when the metadata was written.
pub(super) fn check<'a>(
    directory: &Path,
    shards: Vec<Shard<'a>>,
    described: Option<SystemTime>,
) -> (Found, Vec<Shard<'a>>) {
    let total = shards.len();
    let (mut found, mut sound) = (Found::default(), Vec::new());
    let (mut missing, mut bad, mut younger) = (Vec::new(), Vec::new(), 0_u64);
    for shard in shards {
        match fs::metadata(directory.join(shard.name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing.push(shard.name),
            Err(error) => bad.push(unreadable(Level::Size, &error).at_file(shard.name)),
            Ok(metadata) => {
                found.bytes += if metadata.is_file() { metadata.len() } else { 0 };
                younger += u64::from(is_younger(&metadata, described));
                if let Some(finding) = fault(&metadata, &shard) {
                    bad.push(finding.at_file(shard.name));
                } else {
                    found.findings.extend(unused(metadata.len(), &shard));
                    sound.push(shard);
                }
            }
        }
    }
    found.findings.extend(first_few(missing, missing_shard, "shards are missing"));
    found.findings.extend(first_few(bad, |finding| finding, "shards are damaged"));
    found.findings.extend((younger > 0).then(|| metadata_older(younger, total)));
    (found, sound)
}

/// Says what is wrong with a shard, if anything is.
fn fault(metadata: &Metadata, shard: &Shard<'_>) -> Option<Finding> {
    if !metadata.is_file() {
        let message = "it should be a file, and is none";
        return Some(Finding::incompatible(Code::NotRegular, Level::Size, message));
    }
    let end = shard.items.iter().map(|item| item.range.end).max().unwrap_or(0);
    if metadata.len() == 0 && end > 0 {
        let message = "the shard is empty: it was created, and nothing was written or kept";
        return Some(Finding::corrupted(Code::Empty, Level::Size, message));
    }
    if metadata.len() < end {
        let cut = shard.items.iter().filter(|item| item.range.end > metadata.len()).count();
        let message = format!(
            "the shard has {} bytes, and its items reach to {end}: {cut} of {} are cut off",
            metadata.len(),
            shard.items.len()
        );
        return Some(Finding::corrupted(Code::Truncated, Level::Size, message).at_offset(metadata.len()));
    }
    overlap(shard)
}

/// Finds two items that share a part of their bytes. Those that share all of them are one.
fn overlap(shard: &Shard<'_>) -> Option<Finding> {
    let mut end = 0;
    for item in shard.items.iter().filter(|item| !item.range.is_empty()) {
        if item.range.start < end {
            let message =
                "an item begins within another: the metadata isn't that of this shard, or is damaged";
            let finding = Finding::corrupted(Code::EntriesOverlap, Level::Size, message);
            return Some(finding.at_offset(item.range.start));
        }
        end = item.range.end;
    }
    None
}

/// The note for bytes behind the last item. PyTorch leaves none; ckpt aligns its items, and leaves none there either.
fn unused(len: u64, shard: &Shard<'_>) -> Option<Finding> {
    let end = shard.items.iter().map(|item| item.range.end).max().unwrap_or(0);
    (end < len).then(|| {
        let message = format!("{} bytes follow the last item that the metadata names", len - end);
        Finding::note(Code::StrayBytes, Level::Size, message).at_file(shard.name).at_offset(end)
    })
}

/// Returns whether a shard was written after the metadata, which is written last.
fn is_younger(metadata: &Metadata, described: Option<SystemTime>) -> bool {
    metadata.modified().ok().zip(described).is_some_and(|(shard, described)| shard > described)
}

/// The note for shards that were written after the metadata.
fn metadata_older(count: u64, total: usize) -> Finding {
    let message = format!(
        "{count} of {total} shards were written after the metadata: they may be those of a later save that wasn't \
         finished, unless the directory was copied without its times"
    );
    Finding::note(Code::MetadataOlder, Level::Size, message)
}

/// The finding for a shard that isn't there.
fn missing_shard(name: &str) -> Finding {
    let message = format!("the shard {} is missing", quoted(name));
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message).at_file(name)
}
