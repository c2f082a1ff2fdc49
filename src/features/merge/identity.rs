//! What tells one input from another, without reading more of it than has to be.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::features::table::Table;
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
        let proof = proof_of(&source).map(|proven| proven.proof.id());
        let records = || Archive::open(&source).ok()?.digest();
        let records = if proof.is_some() { None } else { records() };
        Self::of(&source, proof, records).ok()
    }

    /// Identifies a file that was read.
    pub(super) fn of_table(table: &Table) -> Result<Self, Error> {
        let identity = Self::of(table.source(), table.proof(), table.records());
        identity.map_err(|error| Error::io(table.path(), "read it", error))
    }

    /// Identifies a file by its proof, by the checksums of its records where it is an archive that has one for each, and
    /// otherwise by all of its bytes.
    fn of(source: &FileSource, proof: Option<String>, records: Option<Digest>) -> io::Result<Self> {
        let contents = match (proof, records) {
            (Some(proof), _) => format!("proof:{proof}"),
            (None, Some(digest)) => format!("records:{}:{digest}", digest.algorithm()),
            (None, None) => {
                let digest = of_bytes(source)?;
                format!("bytes:{}:{digest}", digest.algorithm())
            }
        };
        Ok(Self { bytes: source.len(), contents })
    }
}

/// Digests all bytes: the digest of the digests of blocks, so that several threads can read.
fn of_bytes(source: &FileSource) -> io::Result<Digest> {
    let blocks = block_ranges(&[0..source.len()], BLOCK_BYTES);
    let digests = source.digests(&blocks, Algorithm::Crc64Nvme, &ScanOptions::default())?;
    let mut hasher = Hasher::new(Algorithm::Crc64Nvme);
    for digest in &digests {
        hasher.update(digest.as_bytes());
    }
    Ok(hasher.finish())
}
