//! What the metadata files of a directory say together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::SystemTime;

use super::super::VerifyOptions;
use super::super::blocks;
use super::super::contents::{Checked, Contents};
use super::super::file::flaw_finding;
use super::super::size::{self, unreadable};
use super::super::watched::Watched;
use super::shards::{Held, Item, Shard};
use super::unfinished;
use crate::error::Error;
use crate::format::dcp::{
    Chunk, Cover, MAX_COMPARED, METADATA, Metadata, Place, Role, Tensor, Value, cover, read_metadata,
};
use crate::format::read_vec;
use crate::io::{FileSource, ReadAt};
use crate::record::{Code, Finding, FormatKind, Integrity, Level, TensorInfo, first_few, quoted};

/// The metadata of a job of ten thousand ranks has a tenth of this.
const MAX_METADATA_BYTES: u64 = 1 << 30;

/// Of a name's prefixes, so many are keys as well: `optimizer.state` of `optimizer.state.0.exp_avg`.
const MAX_PREFIXES: usize = 16;

/// What the metadata says: one file of all ranks, or one of each.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// By rank, where each saved for itself.
    parts: Vec<Metadata>,
    /// The names of the files.
    names: Vec<String>,
    /// The size of the metadata.
    pub(super) bytes: u64,
    /// Whether each was held against a seal: the format has no checksum for them.
    pub(super) is_sealed: bool,
    /// When the last of them was written.
    pub(super) modified: Option<SystemTime>,
    /// What is wrong with what they say.
    pub(super) findings: Vec<Finding>,
}

/// Reads the metadata in a directory.
///
/// # Errors
///
/// There is none, or it can't be read.
pub(super) fn read(
    directory: &Path,
    names: &[String],
    options: &VerifyOptions,
) -> Result<Described, Vec<Finding>> {
    let mut described = Described { is_sealed: true, ..Described::default() };
    let mut ranks = BTreeMap::new();
    for name in names {
        match Role::of(name) {
            // With metadata of all ranks, readers don't look at any other.
            Role::Metadata(None) => {
                described.take(directory, name, options)?;
                described.find_faults();
                return Ok(described);
            }
            Role::Metadata(Some(rank)) => drop(ranks.insert(rank, name)),
            _ => {}
        }
    }
    let Some((&last, _)) = ranks.last_key_value() else { return Err(vec![unfinished(names)]) };
    described.findings.extend(missing_ranks(&ranks.keys().copied().collect(), last));
    for name in ranks.values() {
        described.take(directory, name, options)?;
    }
    described.find_faults();
    Ok(described)
}

/// Says which rank's metadata is missing. That of the last ranks can't be known to be.
fn missing_ranks(ranks: &BTreeSet<u32>, last: u32) -> Option<Finding> {
    let first = (0..last).find(|rank| !ranks.contains(rank))?;
    let message = format!(
        "the metadata of rank {first} is missing: there are {} of at least {} ranks",
        ranks.len(),
        u64::from(last) + 1
    );
    Some(
        Finding::corrupted(Code::ArtifactMissing, Level::Size, message)
            .at_file(format!("__{first}{METADATA}")),
    )
}

impl Described {
    /// Reads one metadata file.
    fn take(&mut self, directory: &Path, name: &str, options: &VerifyOptions) -> Result<(), Vec<Finding>> {
        let path = directory.join(name);
        let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        self.modified = self.modified.max(modified);
        let (bytes, is_sealed) = read_file(&path, options).map_err(|finding| vec![finding.at_file(name)])?;
        self.is_sealed &= is_sealed;
        self.bytes += bytes.len() as u64;
        let metadata =
            read_metadata(&bytes, &options.read_options()).map_err(|finding| vec![finding.at_file(name)])?;
        self.parts.push(metadata);
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Holds what the metadata says against itself.
    fn find_faults(&mut self) {
        let lost = self.parts.iter().flat_map(without_place);
        self.findings.extend(first_few(lost, no_place, "values have no place in any file"));
        let uncovered = self.uncovered();
        self.findings.extend(first_few(uncovered, |finding| finding, "tensors aren't what their chunks are"));
        let strays: u64 = self.parts.iter().map(|part| part.strays).sum();
        if strays > 0 {
            let message = format!("{strays} items of the metadata belong to no value");
            self.findings.push(Finding::note(Code::Unlisted, Level::Size, message));
        }
    }

    /// Finds the tensors whose chunks aren't the whole, and those of which the ranks say different things.
    ///
    /// Ranks that save for themselves each have their chunks, and all have what isn't divided.
    fn uncovered(&self) -> Vec<Finding> {
        let mut together: HashMap<&str, Joined<'_>> = HashMap::new();
        for tensor in self.parts.iter().flat_map(|part| &part.tensors) {
            together.entry(&tensor.name).or_insert_with(|| Joined::new(tensor)).add(tensor);
        }
        let mut compared = MAX_COMPARED;
        let is_one = self.parts.len() == 1;
        let tensors = self.parts.iter().flat_map(|part| &part.tensors);
        let joined = tensors.filter_map(|tensor| together.remove(tensor.name.as_str()));
        joined.filter_map(|joined| joined.fault(is_one, &mut compared)).collect()
    }

    /// Returns the shards with their items, in the order of the file; items that share their bytes are one.
    pub(super) fn shards(&self) -> Vec<Shard<'_>> {
        let mut shards: BTreeMap<&str, BTreeMap<(u64, u64), Item<'_>>> = BTreeMap::new();
        for part in &self.parts {
            let chunks = part.tensors.iter().flat_map(|tensor| {
                tensor.chunks.iter().map(move |chunk| (chunk.place.as_ref(), Held::Chunk(tensor, chunk)))
            });
            let values = part.values.iter().map(|value| (value.place.as_ref(), Held::Value(value)));
            for (place, held) in chunks.chain(values) {
                let Some(place) = place else { continue };
                let name = part.shards.get(place.shard).map_or("", String::as_str);
                let key = (place.range.start, place.range.end);
                let items = shards.entry(name).or_default();
                items.entry(key).or_insert_with(|| Item::new(place)).holds.push(held);
            }
        }
        let shards = shards.into_iter();
        shards.map(|(name, items)| Shard { name, items: items.into_values().collect() }).collect()
    }

    /// Returns the files that are shards or metadata, and none of this checkpoint's.
    pub(super) fn unlisted<'n>(&self, names: &'n [String]) -> Vec<&'n String> {
        let shards = self.parts.iter().flat_map(|part| &part.shards);
        let listed: HashSet<&String> = shards.chain(&self.names).collect();
        let is_meant = |name: &&String| matches!(Role::of(name), Role::Shard | Role::Metadata(_));
        names.iter().filter(is_meant).filter(|name| !listed.contains(name)).collect()
    }

    /// Returns what the checkpoint holds: tensors by their whole shape, and every name.
    pub(super) fn contents(&self) -> Contents {
        let mut contents = Contents { is_map: true, ..Contents::default() };
        let mut seen = HashSet::new();
        for part in &self.parts {
            for tensor in part.tensors.iter().filter(|tensor| seen.insert(tensor.name.as_str())) {
                contents.keys.push((tensor.name.clone(), Some(contents.tensors.len())));
                contents.tensors.push(tensor.info());
            }
            for value in part.values.iter().filter(|value| seen.insert(value.name.as_str())) {
                contents.keys.push((value.name.clone(), None));
            }
        }
        let prefixes = self.names_of_all().flat_map(prefixes).filter(|prefix| seen.insert(prefix));
        contents.keys.extend(prefixes.map(|prefix| (prefix.to_owned(), None)));
        contents.metadata = self.facts();
        contents
    }

    /// Returns the names of all tensors and values.
    fn names_of_all(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| {
            let tensors = part.tensors.iter().map(|tensor| tensor.name.as_str());
            tensors.chain(part.values.iter().map(|value| value.name.as_str()))
        })
    }

    /// Returns what the metadata says of the checkpoint as a whole.
    fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        let shards: HashSet<&String> = self.parts.iter().flat_map(|part| &part.shards).collect();
        facts.insert("dcp.shards".to_owned(), shards.len().to_string());
        let values: usize = self.parts.iter().map(|part| part.values.len()).sum();
        facts.insert("dcp.values".to_owned(), values.to_string());
        if let Some(first) = self.parts.first() {
            facts.extend(first.version.iter().map(|version| ("dcp.version".to_owned(), version.clone())));
            facts.extend(first.save_id.iter().map(|id| ("dcp.save".to_owned(), id.clone())));
        }
        if self.names.iter().any(|name| name != METADATA) {
            facts.insert("dcp.ranks".to_owned(), self.parts.len().to_string());
        }
        facts
    }
}

/// Reads a directory's metadata, and the sizes of its shards.
pub(in super::super) fn inspect(
    directory: &Path,
    names: &[String],
    options: &VerifyOptions,
) -> Result<(FormatKind, u64, Contents), Error> {
    let described = read(directory, names, options).map_err(|findings| {
        let finding = findings.into_iter().next().unwrap_or_else(|| unfinished(names));
        Error::found(directory, finding)
    })?;
    let size = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
    let shards: u64 = described.shards().iter().map(|shard| size(shard.name)).sum();
    Ok((FormatKind::TorchDistributed, described.bytes + shards, described.contents()))
}

/// Reads a metadata file whole, held against its seal where it has one; says whether it has.
fn read_file(path: &Path, options: &VerifyOptions) -> Result<(Vec<u8>, bool), Finding> {
    let options = VerifyOptions { require_marker: false, ..options.clone() };
    let size::Sized { findings, beside, .. } = size::check(path, &options);
    if let Some(finding) = findings.into_iter().find(Finding::is_failure) {
        return Err(finding);
    }
    let source = FileSource::open(path).map_err(|error| unreadable(Level::Size, &error))?;
    let source = Watched::new(&source, &options);
    if source.len() > MAX_METADATA_BYTES {
        let message = format!("the metadata has {} bytes; the limit is {MAX_METADATA_BYTES}", source.len());
        return Err(Finding::incompatible(Code::TooComplex, Level::Size, message));
    }
    let mut sealed = Checked::new(FormatKind::TorchDistributed, None);
    if let Some(seal) = beside.seal {
        blocks::check_seal(&source, &seal, &options, &mut sealed);
        if let Some(finding) = sealed.findings.into_iter().next() {
            return Err(Finding { level: Level::Size, ..finding });
        }
    }
    let bytes =
        read_vec(&source, 0..source.len()).map_err(|error| flaw_finding(error.into(), Level::Size))?;
    Ok((bytes, sealed.integrity == Integrity::Full))
}

/// Returns the beginnings of a name at its dots: keys of the state, which was flattened.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').take(MAX_PREFIXES).filter_map(|(at, _)| name.get(..at))
}

/// Something that the metadata names and gives no place.
#[derive(Clone, Copy)]
struct Lost<'a> {
    name: &'a str,
    /// The chunk's offsets, of a tensor.
    chunk: Option<&'a Chunk>,
}

/// Finds what has no place. A chunk without elements needs none.
fn without_place(part: &Metadata) -> impl Iterator<Item = Lost<'_>> {
    let chunks = part.tensors.iter().flat_map(|tensor| {
        let lost = tensor.chunks.iter().filter(|chunk| chunk.place.is_none() && !chunk.sizes.contains(&0));
        lost.map(|chunk| Lost { name: &tensor.name, chunk: Some(chunk) })
    });
    let values = part.values.iter().filter(|value| value.place.is_none());
    chunks.chain(values.map(|value: &Value| Lost { name: &value.name, chunk: None }))
}

/// The finding for what has no place: a thread or a rank that failed, in a save that said nothing of it.
fn no_place(lost: Lost<'_>) -> Finding {
    let message = match lost.chunk {
        Some(chunk) => {
            format!("the chunk at {:?} is in no file: the save lost it without a word", chunk.offsets)
        }
        None => format!("the value {} is in no file: the save lost it without a word", quoted(lost.name)),
    };
    let finding = Finding::corrupted(Code::RecordMissing, Level::Size, message);
    if lost.chunk.is_some() { finding.at_tensor(lost.name) } else { finding }
}

/// A tensor as all ranks have it.
struct Joined<'a> {
    tensor: &'a Tensor,
    chunks: Vec<Chunk>,
    seen: HashSet<(&'a [u64], &'a [u64])>,
    /// Whether the ranks say the same of it as a whole.
    agrees: bool,
}

impl<'a> Joined<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        Self { tensor, chunks: Vec::new(), seen: HashSet::new(), agrees: true }
    }

    /// Adds what another rank says. A chunk that several ranks have is one.
    fn add(&mut self, tensor: &'a Tensor) {
        let first = self.tensor;
        self.agrees &= (first.dtype, &first.shape) == (tensor.dtype, &tensor.shape);
        let is_first = std::ptr::eq(first, tensor);
        for chunk in &tensor.chunks {
            if self.seen.insert((&chunk.offsets, &chunk.sizes)) || is_first {
                let (offsets, sizes) = (chunk.offsets.clone(), chunk.sizes.clone());
                self.chunks.push(Chunk { offsets, sizes, place: None });
            }
        }
    }

    /// Says what is wrong with the chunks. Where each rank saved for itself (not `is_one`), a tensor of the same name
    /// may be another on each.
    fn fault(self, is_one: bool, compared: &mut u64) -> Option<Finding> {
        if !self.agrees && !is_one {
            return None;
        }
        let message = match cover(&self.tensor.shape, &self.chunks, compared) {
            Cover::Whole => return None,
            Cover::Gap(elements) => format!(
                "{elements} of {} elements are in no chunk",
                TensorInfo::count(&self.tensor.shape).unwrap_or(u64::MAX)
            ),
            Cover::Overlap(one, other) => {
                let at = |number: usize| self.chunks.get(number).map(|chunk| chunk.offsets.as_slice());
                let (one, other) = (at(one).unwrap_or_default(), at(other).unwrap_or_default());
                format!("the chunks at {one:?} and at {other:?} have elements in common")
            }
            Cover::TooMany => {
                let message = "its chunks are too many to be compared";
                let finding = Finding::incompatible(Code::TooComplex, Level::Size, message);
                return Some(finding.at_tensor(&self.tensor.name));
            }
        };
        let finding = Finding::corrupted(Code::DataLayout, Level::Size, message);
        Some(finding.at_tensor(&self.tensor.name))
    }
}

impl<'a> Item<'a> {
    /// An item that nothing is known of but its place.
    fn new(place: &'a Place) -> Self {
        Self { range: place.range.clone(), place, holds: Vec::new() }
    }
}
