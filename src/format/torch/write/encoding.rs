use std::fmt;

use crate::digest::{Crc32, Digest, Hasher};
use crate::format::zip::write::{Record, directory};
use crate::format::{Encoding, Head};
use crate::io::write::{Piece, PieceDigest};
use crate::record::Proof;
use crate::tensor::{Data, Source, StorageId};

/// A state as an archive that `torch.load` reads; made by [`encode`](super::encode).
#[derive(Debug)]
pub struct TorchEncoding<'s> {
    /// All records, that of the proof last; each with its checksum, where it is known beforehand.
    pub(super) records: Vec<(Record, Option<u32>)>,
    /// What lies before the record of the proof, in the order of the file and without gaps.
    pub(super) slots: Vec<Slot<'s>>,
    /// Where the storages begin.
    pub(super) places: Vec<(StorageId, u64)>,
    /// The proof with blank digests: as long as the real one.
    pub(super) proof: Proof,
    /// The length of the file.
    pub(super) len: u64,
}

/// A run of bytes of the file.
pub(super) enum Slot<'s> {
    /// Headers and whole records that are known beforehand.
    Head { offset: u64, bytes: Vec<u8> },
    /// The local header of a record whose checksum isn't known yet.
    Header { record: usize },
    /// The data of a storage.
    Data { record: usize, offset: u64, source: &'s Data<'s> },
}

impl fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head { offset, bytes } => write!(f, "Head({} bytes at {offset})", bytes.len()),
            Self::Header { record } => write!(f, "Header(record {record})"),
            Self::Data { record, offset, source } => {
                write!(f, "Data(record {record}, {} bytes at {offset})", source.len())
            }
        }
    }
}

impl Encoding for TorchEncoding<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        let piece = |slot| match slot {
            &Slot::Head { offset, ref bytes } => Some(Piece { offset, source: bytes, is_data: false }),
            &Slot::Data { offset, source, .. } => Some(Piece { offset, source, is_data: true }),
            Slot::Header { .. } => None,
        };
        self.slots.iter().filter_map(piece).collect()
    }

    fn places(&self) -> Vec<(StorageId, u64)> {
        self.places.clone()
    }

    fn needs_crc32(&self) -> bool {
        true
    }

    fn finish(&self, digests: &[PieceDigest]) -> Head {
        let (checksums, blocks) = self.take_up(digests);
        let mut proof = Proof { blocks, ..self.proof.clone() };
        let mut hasher = Hasher::new(proof.root.algorithm());
        let mut parts = Vec::new();
        for slot in &self.slots {
            match slot {
                Slot::Head { bytes, .. } => hasher.update(bytes),
                Slot::Header { record } => {
                    let crc32 = checksums.get(*record).copied().unwrap_or(0);
                    let Some((record, _)) = self.records.get(*record) else { continue };
                    let header = record.local_header(crc32);
                    hasher.update(&header);
                    parts.push((record.header(), header));
                }
                Slot::Data { .. } => {}
            }
        }
        // With the root's digits and the record's own checksum blank, and then with both.
        let (_, blank) = self.end(&proof, &checksums, 0);
        hasher.update(&blank);
        proof.root = hasher.finish();
        let own = Crc32::of(proof.encode().as_bytes()).value();
        parts.push(self.end(&proof, &checksums, own));
        Head { parts, proof }
    }
}

impl TorchEncoding<'_> {
    /// Sorts the digests of the pieces: the checksum of each record, and the digests of the blocks.
    fn take_up(&self, digests: &[PieceDigest]) -> (Vec<u32>, Vec<Digest>) {
        let mut checksums: Vec<_> = self.records.iter().map(|(_, crc32)| crc32.unwrap_or(0)).collect();
        let mut blocks = Vec::with_capacity(self.proof.blocks.len());
        let slots = self.slots.iter().filter(|slot| !matches!(slot, Slot::Header { .. }));
        for (slot, digest) in slots.zip(digests) {
            let Slot::Data { record, .. } = slot else { continue };
            blocks.extend(&digest.blocks);
            let is_known = self.records.get(*record).is_some_and(|(_, crc32)| crc32.is_some());
            if let (false, Some(checksum), Some(crc32)) = (is_known, checksums.get_mut(*record), digest.crc32)
            {
                *checksum = crc32.value();
            }
        }
        debug_assert_eq!(blocks.len(), self.proof.blocks.len(), "each block has its digest");
        // The place for the digests is reserved: a caller that lost some gets a proof that fails.
        blocks.resize(self.proof.blocks.len(), self.proof.root);
        (checksums, blocks)
    }

    /// Returns the end of the file with its place: the proof's record and the directory. `own` is the
    /// checksum of that record.
    fn end(&self, proof: &Proof, checksums: &[u32], own: u32) -> (u64, Vec<u8>) {
        let Some(((record, _), others)) = self.records.split_last() else { return (0, Vec::new()) };
        let mut bytes = record.local_header(own);
        bytes.extend_from_slice(proof.encode().as_bytes());
        let checksums = checksums.iter().copied().take(others.len()).chain([own]);
        let records = self.records.iter().map(|(record, _)| record);
        bytes.extend(directory(records.zip(checksums), record.data().end));
        (record.header(), bytes)
    }
}
