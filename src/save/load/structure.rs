//! What a file holds, before any tensor is read.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use super::LoadOptions;
use crate::Error;
use crate::digest::Digest;
use crate::format::safetensors;
use crate::format::safetensors::structure::{self, Contents};
use crate::format::torch::archive::TorchArchive;
use crate::format::torch::{Checkpoint, StorageData, legacy};
use crate::format::zip::Entry;
use crate::format::{Flaw, Proven, detect};
use crate::io::{FileSource, ReadAt};
use crate::record::{Code, Finding, FormatKind, Level, Verdict};
use crate::tensor::{Storage, StorageId, Tree};

/// A checkpoint whose structure was read, with where its bytes are.
pub(in crate::save) struct Structure {
    pub(in crate::save) tree: Tree,
    /// Where each of the tree's storages lies, in the same order.
    pub(in crate::save) places: Vec<Place>,
    /// Whether the bytes of numbers have to be turned.
    pub(in crate::save) big_endian: bool,
    /// The proof that the file carries, where it is to be held against the file.
    pub(in crate::save) proof: Option<Proven>,
    /// What the content is.
    pub(in crate::save) format: FormatKind,
    /// The caller's own metadata, without what is the project's.
    pub(in crate::save) metadata: BTreeMap<String, String>,
    /// A digest of the checksums of an archive's records, where each has one.
    pub(in crate::save) records: Option<Digest>,
}

/// Where a storage's bytes are.
#[derive(Clone, Debug)]
pub(in crate::save) enum Place {
    /// In the file, as they are.
    At(Range<u64>, Record),
    /// In the file, deflated.
    Deflated(Box<Entry>),
    /// Nowhere: a meta tensor has none.
    Nowhere,
}

/// The record of an archive that a storage is.
#[derive(Clone, Debug, Default)]
pub(in crate::save) struct Record {
    /// Its name; none in other formats.
    pub(in crate::save) name: Option<String>,
    /// Its checksum, where it has one.
    pub(in crate::save) crc32: Option<u32>,
}

impl Structure {
    /// Reads the structure of a file: at the cost of its header. Nothing of it is executed.
    pub(super) fn read(path: &Path, source: &FileSource, options: &LoadOptions) -> Result<Self, Error> {
        Self::read_any(path, source, options).map_err(|flaw| super::faults::flaw(path, flaw))
    }

    /// Returns for each storage the one that it is a part of, in the end; itself where it is none's.
    ///
    /// A proof's digests are those of whole storages. A part that isn't behind its whole is taken for none.
    pub(super) fn wholes(&self) -> Vec<StorageId> {
        let storages = self.tree.storages();
        let mut wholes: Vec<StorageId> = Vec::with_capacity(storages.len());
        for (number, storage) in (0_u32..).zip(storages) {
            let whole = storage.part_of.and_then(|(whole, _)| wholes.get(whole.0 as usize).copied());
            wholes.push(whole.unwrap_or(StorageId(number)));
        }
        wholes
    }

    fn read_any(path: &Path, source: &FileSource, options: &LoadOptions) -> Result<Self, Flaw> {
        let kind = detect(source)?;
        let named_safetensors =
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
        match kind {
            FormatKind::Safetensors => Self::of_safetensors(source, options),
            FormatKind::Unknown if named_safetensors => Self::of_safetensors(source, options),
            FormatKind::Zip => Self::of_archive(source, options),
            FormatKind::TorchLegacy => {
                let checkpoint = legacy::read(source, &options.read_options())?;
                Self::of_checkpoint(checkpoint, FormatKind::TorchLegacy, &HashMap::new())
            }
            FormatKind::Empty => {
                let message = "the file is empty: it was created, and nothing was written or kept";
                Err(Finding::corrupted(Code::Empty, Level::Size, message).into())
            }
            FormatKind::Zeros => {
                let message =
                    "the file is zero at its beginning and at its end: it was never written back to the disk";
                Err(Finding::corrupted(Code::AllZero, Level::Container, message).into())
            }
            other => Err(foreign(other).into()),
        }
    }

    fn of_safetensors(source: &FileSource, options: &LoadOptions) -> Result<Self, Flaw> {
        let header = safetensors::read_header(source)
            .map_err(|flaw| if options.verify { damaged_header(source, flaw) } else { flaw })?;
        let proof =
            if options.verify { with_its_head(safetensors::read_proof(source, &header)?)? } else { None };
        let Contents { tree, ranges } = structure::read(&header)?;
        let place =
            |range: Option<_>| range.map_or(Place::Nowhere, |range| Place::At(range, Record::default()));
        let places = ranges.into_iter().map(place).collect();
        let (format, metadata) = (FormatKind::Safetensors, own(header.metadata));
        Ok(Self { tree, places, big_endian: false, proof, format, metadata, records: None })
    }

    fn of_archive(source: &FileSource, options: &LoadOptions) -> Result<Self, Flaw> {
        let archive = TorchArchive::open(source)?;
        if archive.kind != FormatKind::TorchZip {
            return Err(foreign(archive.kind).into());
        }
        let proof = if options.verify { with_its_head(archive.read_proof(source)?)? } else { None };
        let (checkpoint, findings) = archive.read(source, &options.read_options())?;
        if let Some(finding) = findings.into_iter().find(Finding::is_failure) {
            return Err(finding.into());
        }
        let entries = &archive.archive.entries;
        let records = entries.iter().map(|entry| (entry.data.start, entry)).collect();
        let structure = Self::of_checkpoint(checkpoint, archive.kind, &records)?;
        let (metadata, records) = (torch_metadata(source, &archive)?, archive.archive.digest());
        Ok(Self { proof, metadata, records, ..structure })
    }

    /// Takes up a PyTorch checkpoint. `records` are the archive's, by where their data begins.
    pub(in crate::save) fn of_checkpoint(
        checkpoint: Checkpoint,
        format: FormatKind,
        records: &HashMap<u64, &Entry>,
    ) -> Result<Self, Flaw> {
        if let Some(finding) = checkpoint.findings.into_iter().find(Finding::is_failure) {
            return Err(finding.into());
        }
        let places = checkpoint.data.iter().zip(checkpoint.tree.storages());
        let places = places.map(|(data, storage)| place(data, storage, &checkpoint.data, records)).collect();
        let (big_endian, metadata) = (checkpoint.big_endian, BTreeMap::new());
        Ok(Self { tree: checkpoint.tree, places, big_endian, proof: None, format, metadata, records: None })
    }

    /// Returns where a storage lies.
    pub(in crate::save) fn place(&self, id: StorageId) -> &Place {
        self.places.get(id.0 as usize).unwrap_or(&Place::Nowhere)
    }
}

/// Refuses a proof whose head isn't the one that was saved. That comes before the values are read: what damage
/// makes of them says nothing of what they were.
fn with_its_head(proof: Option<Proven>) -> Result<Option<Proven>, Flaw> {
    match proof {
        Some(proof) if !proof.is_head_intact() => Err(other_head().into()),
        proof => Ok(proof),
    }
}

/// Returns what is wrong with a header that can't be used: damage, where its proof says so.
fn damaged_header(source: &FileSource, flaw: Flaw) -> Flaw {
    let is_use = matches!(&flaw, Flaw::Found(finding) if finding.verdict == Verdict::Incompatible);
    if is_use && safetensors::is_head_damaged(source).unwrap_or(false) { other_head().into() } else { flaw }
}

fn other_head() -> Finding {
    let message =
        "the head hasn't the digest that its proof names: names, shapes, or the proof itself are damaged";
    Finding::corrupted(Code::ChecksumMismatch, Level::Container, message)
}

/// Leaves out the metadata that is the project's own.
pub(in crate::save) fn own(mut metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    metadata.retain(|key, _| !key.starts_with("ckpt."));
    metadata
}

/// Reads the metadata that ckpt puts into an archive; what another program put there is none.
pub(in crate::save) fn torch_metadata(
    source: &dyn ReadAt,
    archive: &TorchArchive,
) -> Result<BTreeMap<String, String>, Flaw> {
    Ok(own(archive.callers_metadata(source)?))
}

/// Reads the caller's own metadata of a file that ckpt wrote, whatever its format: at the cost of its head. Any other
/// file has none.
pub(crate) fn metadata_of(source: &dyn ReadAt) -> Result<BTreeMap<String, String>, Flaw> {
    match detect(source)? {
        FormatKind::Safetensors => Ok(own(safetensors::read_header(source)?.metadata)),
        FormatKind::Zip => torch_metadata(source, &TorchArchive::open(source)?),
        _ => Ok(BTreeMap::new()),
    }
}

/// Finds where a storage's bytes are: those of a part are within those of the whole, which has no checksum in
/// the format that has parts.
fn place(
    data: &StorageData,
    storage: &Storage,
    all: &[StorageData],
    records: &HashMap<u64, &Entry>,
) -> Place {
    match data {
        StorageData::At(range) => {
            let entry = records.get(&range.start).filter(|entry| entry.data == *range);
            let record = entry.map(|entry| Record { name: Some(entry.name.clone()), crc32: entry.crc32 });
            Place::At(range.clone(), record.unwrap_or_default())
        }
        StorageData::Deflated(entry) => Place::Deflated(entry.clone()),
        StorageData::PartOf(whole, start) => match all.get(whole.0 as usize) {
            Some(StorageData::At(range)) => {
                let start = range.start.saturating_add(*start).min(range.end);
                let end = start.saturating_add(storage.bytes).min(range.end);
                Place::At(start..end, Record::default())
            }
            _ => Place::Nowhere,
        },
        StorageData::Missing => Place::Nowhere,
    }
}

/// The finding for what is recognised, and is no checkpoint that can be loaded.
pub(in crate::save) fn foreign(kind: FormatKind) -> Finding {
    let message = format!("the content is {}: no checkpoint that can be loaded", kind.describe());
    Finding::incompatible(Code::ForeignFormat, Level::Container, message)
}
