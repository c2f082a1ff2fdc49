//! The proof in an archive that ckpt wrote: a record of its own, beside PyTorch's.

use std::ops::Range;

use super::archive::TorchArchive;
use crate::digest::Crc32;
use crate::format::head::{Blank, read_digest};
use crate::format::proven::half_proof;
use crate::format::zip::{Entry, Method};
use crate::format::{Carried, Flaw, Proven, read_vec};
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level, Proof, ProofError};

/// The name of the proof's record within the archive's folder.
pub const PROOF_RECORD: &str = "ckpt/proof";

/// A longer proof isn't read: two million blocks, with the longer digests, need half of it, and all of it is
/// held in memory.
const MAX_PROOF_BYTES: u64 = 256 << 20;

impl TorchArchive {
    /// Reads the proof, and the digest of the head: of all bytes but the storages'. None where the archive
    /// carries no proof, or one that isn't known here; [`TorchArchive::find_proof`] tells the two apart.
    ///
    /// No storage is read, but for small ones that lie between what is.
    ///
    /// # Errors
    ///
    /// There is half a proof, which is damage; or the file can't be read.
    pub fn read_proof(&self, source: &dyn ReadAt) -> Result<Option<Proven>, Flaw> {
        self.find_proof(source).map(Carried::proven)
    }

    /// As [`TorchArchive::read_proof`], and tells an archive without a proof from one whose proof isn't known
    /// here.
    ///
    /// # Errors
    ///
    /// See [`TorchArchive::read_proof`].
    pub fn find_proof(&self, source: &dyn ReadAt) -> Result<Carried, Flaw> {
        let Some(entry) = self.record(PROOF_RECORD) else {
            return self.refuse_strays(source).map(|()| Carried::Nothing);
        };
        let at_record = |finding: Finding| finding.at_record(&entry.name).at_offset(entry.data.start);
        let line = read_line(source, entry).map_err(|flaw| match flaw {
            Flaw::Found(finding) => at_record(*finding).into(),
            flaw @ Flaw::Io(_) => flaw,
        })?;
        match Proof::parse(&line) {
            Ok(proof) => self.prove(source, entry, proof),
            // The record has its checksum, so that this is how it was written.
            Err(error @ (ProofError::Version | ProofError::Algorithm)) => Ok(Carried::Unknown(error)),
            Err(error) => Err(at_record(half_proof(error)).into()),
        }
    }

    /// Refuses a proof under another name. Records that PyTorch knows by name are not looked at.
    fn refuse_strays(&self, source: &dyn ReadAt) -> Result<(), Flaw> {
        let stem = Proof::MAGIC_STEM.as_bytes();
        let pickle = self.record("data.pkl").map(|entry| entry.header);
        for entry in &self.archive.entries {
            let known = self.is_data(entry) || Some(entry.header) == pickle;
            if known || entry.method != Method::Stored || entry.size < stem.len() as u64 {
                continue;
            }
            if read_vec(source, entry.data.start..entry.data.start + stem.len() as u64)? == stem {
                let finding = half_proof("a proof stands under this record's name");
                return Err(finding.at_record(&entry.name).at_offset(entry.data.start).into());
            }
        }
        Ok(())
    }

    /// Computes the digest of the head. The proof's own CRC-32 counts as zero there: it is known only when the
    /// root is.
    fn prove(&self, source: &dyn ReadAt, entry: &Entry, proof: Proof) -> Result<Carried, Flaw> {
        let data = self.data_ranges();
        let mut head = Vec::with_capacity(data.len() + 1);
        let mut behind = 0;
        for range in &data {
            head.push(behind..range.start);
            behind = range.end;
        }
        head.push(behind..source.len());
        let algorithm = proof.root.algorithm();
        let digits = Proof::root_range(algorithm);
        let root = Blank { at: entry.data.start + digits.start as u64, bytes: vec![b'0'; digits.len()] };
        let [local, central] = Entry::CRC32_PLACES;
        let crc32 = |at| Blank { at, bytes: vec![0; 4] };
        let blanks = [crc32(entry.header + local), root, crc32(entry.central + central)];
        let head = read_digest(source, algorithm, &head, &blanks)?;
        Ok(Carried::Proof(Box::new(Proven { proof, head, data })))
    }

    /// Returns where the storages lie, in the order of the file.
    fn data_ranges(&self) -> Vec<Range<u64>> {
        let entries = self.archive.entries.iter().filter(|entry| self.is_data(entry));
        let mut data: Vec<_> =
            entries.map(|entry| entry.data.clone()).filter(|range| !range.is_empty()).collect();
        data.sort_unstable_by_key(|range| range.start);
        data
    }
}

/// Reads the proof's record, which ckpt stores as it is and gives a checksum.
fn read_line(source: &dyn ReadAt, entry: &Entry) -> Result<String, Flaw> {
    if entry.method != Method::Stored || entry.has_descriptor() {
        return Err(half_proof("the proof's record isn't stored as it was put").into());
    }
    if entry.size > MAX_PROOF_BYTES {
        let message = format!("the proof has {} bytes; the limit is {MAX_PROOF_BYTES}", entry.size);
        return Err(Finding::incompatible(Code::TooComplex, Level::Container, message).into());
    }
    let bytes = read_vec(source, entry.data.clone())?;
    if Crc32::of(&bytes).value() != entry.crc32.unwrap_or_default() {
        return Err(half_proof("the proof's record hasn't its checksum").into());
    }
    String::from_utf8(bytes).map_err(|_| half_proof("the proof is no text").into())
}
