//! The structure of a damaged file, and what it has to prove its data with.
//!
//! A reader that loads refuses the whole file for the first thing that is wrong with it. Here a fault costs
//! only what depends on it: a proof that doesn't hold is set aside, a directory that contradicts the headers
//! as well, and a record that is missing is that storage's loss.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::SalvageOptions;
use super::cut;
use crate::digest::Digest;
use crate::format::safetensors::{self, Header, structure};
use crate::format::torch::archive::TorchArchive;
use crate::format::torch::{Checkpoint, ReadOptions, Recovered, StorageData, legacy, recover};
use crate::format::zip::Entry;
use crate::format::{Carried, Flaw, Proven, detect};
use crate::io::FileSource;
use crate::record::{Evidence, Finding, FormatKind};
use crate::save::load::{Place, Record, Structure, foreign, own, torch_metadata};

/// What was read of a damaged file.
pub(super) struct Remains {
    pub(super) structure: Structure,
    /// For each storage, why it is known to be lost.
    pub(super) lost: Vec<Option<String>>,
    pub(super) evidence: Evidence,
    /// Whether names, shapes and plain values are as they were written.
    pub(super) is_vouched: bool,
    /// The digests of blocks, by where they begin.
    pub(super) blocks: HashMap<u64, (Range<u64>, Digest)>,
    /// The length of a block's window, in bytes.
    pub(super) window: u64,
}

impl Remains {
    /// Makes remains of which nothing is known to be lost, and without digests.
    fn new(structure: Structure, evidence: Evidence, is_vouched: bool) -> Self {
        let lost = vec![None; structure.places.len()];
        Self { structure, lost, evidence, is_vouched, blocks: HashMap::new(), window: 0 }
    }

    /// Takes up a proof's digests.
    fn with_blocks(mut self, proven: &Proven) -> Self {
        let blocks = proven.blocks().into_iter().zip(&proven.proof.blocks);
        self.blocks = blocks.map(|(range, digest)| (range.start, (range, *digest))).collect();
        self.window = proven.proof.block_bytes;
        self
    }
}

/// Reads what is left of a file's structure.
///
/// # Errors
///
/// Nothing says any more what the bytes are, or they never were a checkpoint.
pub(super) fn read(path: &Path, source: &FileSource, options: &SalvageOptions) -> Result<Remains, Flaw> {
    let named_safetensors =
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    let read_options = ReadOptions::default().with_allowed_globals(options.allowed_globals.iter().cloned());
    match detect(source)? {
        FormatKind::Safetensors => of_safetensors(source),
        FormatKind::Unknown if named_safetensors => of_safetensors(source),
        FormatKind::Zip => of_zip(source, &read_options),
        FormatKind::TorchLegacy => {
            let checkpoint = legacy::read(source, &read_options)?;
            let structure = Structure::of_checkpoint(checkpoint, FormatKind::TorchLegacy, &HashMap::new())?;
            Ok(Remains::new(structure, Evidence::None, false))
        }
        other => Err(foreign(other).into()),
    }
}

/// Reads a safetensors file whose header can still be read.
fn of_safetensors(source: &FileSource) -> Result<Remains, Flaw> {
    let header = cut::read(source)?;
    let proven = match safetensors::find_proof(source, &header) {
        Ok(Carried::Proof(proven)) => Some(*proven),
        Ok(_) | Err(Flaw::Found(_)) => None,
        Err(flaw) => return Err(flaw),
    };
    let is_vouched = proven.as_ref().is_some_and(Proven::is_head_intact);
    let contents = match structure::read(&header) {
        // The tensors' own names are still there.
        Err(Flaw::Found(_)) if !is_vouched => structure::read(&without_structure(header.clone()))?,
        read => read?,
    };
    let place = |range: Option<_>| range.map_or(Place::Nowhere, |range| Place::At(range, Record::default()));
    let structure = Structure {
        tree: contents.tree,
        places: contents.ranges.into_iter().map(place).collect(),
        big_endian: false,
        proof: None,
        format: FormatKind::Safetensors,
        metadata: own(header.metadata),
        records: None,
    };
    let evidence = match &proven {
        Some(_) if is_vouched => Evidence::Proof,
        Some(proven) if !proven.blocks().is_empty() => Evidence::DamagedProof,
        _ => Evidence::None,
    };
    let remains = Remains::new(structure, evidence, is_vouched);
    Ok(match &proven {
        Some(proven) => remains.with_blocks(proven),
        None => remains,
    })
}

/// Takes a structure that is damaged out of a header.
fn without_structure(mut header: Header) -> Header {
    header.metadata.remove(structure::STRUCTURE_KEY);
    header
}

/// Reads an archive by its directory, and without it where that can't be.
fn of_zip(source: &FileSource, options: &ReadOptions) -> Result<Remains, Flaw> {
    let archive = match TorchArchive::open(source) {
        Ok(archive) if archive.kind == FormatKind::TorchZip => Some(archive),
        Ok(archive) => return Err(foreign(archive.kind).into()),
        Err(_) => None,
    };
    let read = archive.as_ref().and_then(|archive| Some((archive, archive.read(source, options).ok()?)));
    match read {
        Some((archive, (checkpoint, findings))) => of_archive(source, archive, checkpoint, &findings),
        None => of_recovered(recover(source, options)?),
    }
}

/// Takes up an archive whose directory and headers agree.
fn of_archive(
    source: &FileSource,
    archive: &TorchArchive,
    checkpoint: Checkpoint,
    findings: &[Finding],
) -> Result<Remains, Flaw> {
    let proven = match archive.find_proof(source) {
        Ok(Carried::Proof(proven)) if proven.is_head_intact() => Some(*proven),
        // The records have checksums of their own.
        Ok(_) | Err(Flaw::Found(_)) => None,
        Err(flaw) => return Err(flaw),
    };
    let entries = &archive.archive.entries;
    let is_vouched = |entry: &Entry| entry.name.ends_with("/data.pkl") && entry.crc32.is_some();
    let is_vouched = proven.is_some() || entries.iter().any(is_vouched);
    let storages = checkpoint.tree.storages().iter().zip(&checkpoint.data);
    let lost = storages.map(|(storage, data)| match data {
        StorageData::Missing if storage.device != "meta" => {
            let suffix = format!("/data/{}", storage.key);
            let is_own = |finding: &&Finding| {
                finding.at.record.as_ref().is_some_and(|record| record.ends_with(&suffix))
            };
            let message = findings.iter().find(is_own).map(|finding| finding.message.clone());
            Some(message.unwrap_or_else(|| "its record is missing".to_owned()))
        }
        _ => None,
    });
    let lost = lost.collect();
    let records = entries.iter().map(|entry| (entry.data.start, entry)).collect();
    let mut structure = Structure::of_checkpoint(checkpoint, archive.kind, &records)?;
    structure.metadata = torch_metadata(source, archive).unwrap_or_default();
    let evidence = if proven.is_some() { Evidence::Proof } else { Evidence::Crc32 };
    let remains = Remains { lost, ..Remains::new(structure, evidence, is_vouched) };
    Ok(match &proven {
        Some(proven) => remains.with_blocks(proven),
        None => remains,
    })
}

/// Takes up an archive whose records were found one by one.
fn of_recovered(recovered: Recovered) -> Result<Remains, Flaw> {
    let Recovered { checkpoint, crc32, lost, is_vouched } = recovered;
    let mut structure = Structure::of_checkpoint(checkpoint, FormatKind::TorchZip, &HashMap::new())?;
    for (place, sum) in structure.places.iter_mut().zip(crc32) {
        if let Place::At(_, record) = place {
            record.crc32 = sum;
        }
    }
    Ok(Remains { lost, ..Remains::new(structure, Evidence::Crc32, is_vouched) })
}
