//! What tells one input from another, without reading more of it than has to be.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::format::zip::Archive;
use crate::io::{FileSource, ReadAt as _, ScanOptions, ScanSource as _};
use crate::record::{BLOCK_BYTES, block_ranges};
use crate::validate::proof_of;

/// What an input was when it was merged. It goes into the output: neither path nor time is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The size of the file.
    pub(super) bytes: u64,
    /// How its contents are told, a colon, and by what.
    pub(super) contents: String,
}

impl Identity {
    /// Identifies the file at a path; `None` where it can't be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let source = FileSource::open(path).ok()?;
        Self::of(path, &source).ok()
    }

    /// Identifies an open file: by its proof, by the checksums of its records where it is an archive that has one for
    /// each, and otherwise by all of its bytes.
    pub(super) fn of(path: &Path, source: &FileSource) -> Result<Self, Error> {
        let contents = if let Some(proven) = proof_of(source) {
            format!("proof:{}", proven.proof.id())
        } else if let Some(digest) = of_records(source) {
            format!("records:{}:{digest}", digest.algorithm())
        } else {
            let digest = of_bytes(source).map_err(|error| Error::io(path, "read it", error))?;
            format!("bytes:{}:{digest}", digest.algorithm())
        };
        Ok(Self { bytes: source.len(), contents })
    }
}

/// Digests names, sizes and checksums of all records. `None` where it is no archive, or a record has no checksum.
fn of_records(source: &FileSource) -> Option<Digest> {
    let archive = Archive::open(source).ok()?;
    let mut hasher = Hasher::new(Algorithm::Crc64Nvme);
    for entry in &archive.entries {
        hasher.update(&(entry.name.len() as u64).to_le_bytes());
        hasher.update(entry.name.as_bytes());
        hasher.update(&entry.size.to_le_bytes());
        hasher.update(&entry.crc32?.to_le_bytes());
    }
    Some(hasher.finish())
}

/// Digests all bytes: the digest of the digests of blocks, so that several threads can read.
fn of_bytes(source: &FileSource) -> io::Result<Digest> {
    let blocks = block_ranges(&[0..source.len()], BLOCK_BYTES);
    let digests = source.digests(&blocks, Algorithm::Crc64Nvme, &ScanOptions::default())?;
    let mut hasher = Hasher::new(Algorithm::Crc64Nvme);
    digests.iter().for_each(|digest| hasher.update(digest.as_bytes()));
    Ok(hasher.finish())
}
