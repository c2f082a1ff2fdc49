//! Bytes against their checksums, in the pass that reads them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::structure::{Place, Structure};
use crate::digest::{Crc32, Digest, Hasher};
use crate::format::torch::archive::checksum_mismatch;
use crate::record::{BLOCK_BYTES, Code, Finding, Level, block_ranges};
use crate::tensor::StorageId;

/// The checksums of some storages, and what their bytes have been found to have.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// In the order of the file.
    blocks: Vec<Block>,
    storages: Vec<Checked>,
}

/// A run of bytes that is summed in one go: within one window, so that its bytes come in order.
#[derive(Debug)]
struct Block {
    range: Range<u64>,
    /// Whose it is: a place in `storages`.
    storage: usize,
    sum: Mutex<Sum>,
}

#[derive(Debug)]
enum Sum {
    /// Against a proof's digest. The hasher comes with the first bytes, and goes with the last: one has up to
    /// two kilobytes, and a file can have millions of blocks.
    Proof(Digest, Option<Box<Hasher>>),
    /// Against a proof's digest: what the bytes were found to have.
    Proven(Digest, Digest),
    /// A part of a record's CRC-32.
    Record(Crc32),
}

/// What is said of a storage that is damaged.
#[derive(Debug)]
struct Checked {
    tensor: Option<String>,
    record: Option<String>,
    crc32: Option<u32>,
    start: u64,
}

/// What a file's proof says of its blocks.
struct Expected {
    /// By where the blocks begin.
    digests: HashMap<u64, (Range<u64>, Digest)>,
    /// The length of a window.
    window: u64,
    is_proven: bool,
}

impl Expected {
    fn of(structure: &Structure) -> Self {
        let Some(proven) = &structure.proof else {
            return Self { digests: HashMap::new(), window: BLOCK_BYTES, is_proven: false };
        };
        let blocks = proven.blocks().into_iter().zip(&proven.proof.blocks);
        let digests = blocks.map(|(range, digest)| (range.start, (range, *digest))).collect();
        Self { digests, window: proven.proof.block_bytes, is_proven: true }
    }
}

impl Checks {
    /// Collects the checksums of some storages: the proof's digests of their blocks where the file has one,
    /// and their records' CRC-32 otherwise.
    pub(super) fn new(
        structure: &Structure,
        names: &HashMap<StorageId, String>,
        wanted: impl IntoIterator<Item = StorageId>,
    ) -> Self {
        let expected = Expected::of(structure);
        let mut checks = Self::default();
        for id in wanted {
            checks.add(id, structure, names, &expected);
        }
        checks.blocks.sort_by_key(|block| block.range.start);
        checks
    }

    /// As [`Checks::new`], for each storage by itself.
    pub(super) fn each(
        structure: &Structure,
        names: &HashMap<StorageId, String>,
        wanted: &[StorageId],
    ) -> HashMap<StorageId, Self> {
        let expected = Expected::of(structure);
        let checks = |id: &StorageId| {
            let mut checks = Self::default();
            checks.add(*id, structure, names, &expected);
            (*id, checks)
        };
        wanted.iter().map(checks).collect()
    }

    fn add(
        &mut self,
        id: StorageId,
        structure: &Structure,
        names: &HashMap<StorageId, String>,
        expected: &Expected,
    ) {
        let Place::At(range, record) = structure.place(id) else { return };
        let storage = self.storages.len();
        let (tensor, start) = (names.get(&id).cloned(), range.start);
        let crc32 = record.crc32.filter(|_| !expected.is_proven);
        self.storages.push(Checked { tensor, record: record.name.clone(), crc32, start });
        for range in block_ranges(std::slice::from_ref(range), expected.window) {
            let sum = match expected.digests.get(&range.start).filter(|(block, _)| *block == range) {
                Some((_, digest)) => Sum::Proof(*digest, None),
                None if crc32.is_some() => Sum::Record(Crc32::default()),
                None => continue,
            };
            self.blocks.push(Block { range, storage, sum: Mutex::new(sum) });
        }
    }

    /// Takes in bytes that lie at an offset. Each byte comes once, and those of a block in order.
    pub(super) fn feed(&self, offset: u64, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        let first = self.blocks.partition_point(|block| block.range.end <= offset);
        for block in
            self.blocks.get(first..).unwrap_or_default().iter().take_while(|block| block.range.start < end)
        {
            let place = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
            let part = bytes.get(place(block.range.start)..place(block.range.end).min(bytes.len()));
            block.feed(part.unwrap_or_default(), end >= block.range.end);
        }
    }

    /// Says what is damaged first, in the order of the file; to be asked once all bytes came.
    pub(super) fn finding(&self) -> Option<Finding> {
        let mut sums: HashMap<usize, Crc32> = HashMap::new();
        let mut damaged: Option<(u64, Finding)> = None;
        let mut add = |at: u64, finding: Finding| {
            if damaged.as_ref().is_none_or(|(first, _)| at < *first) {
                damaged = Some((at, finding));
            }
        };
        for block in &self.blocks {
            let Some(storage) = self.storages.get(block.storage) else { continue };
            match &*block.sum.lock().unwrap_or_else(PoisonError::into_inner) {
                Sum::Proof(expected, hasher) => {
                    let found = hasher.as_ref().map(|hasher| hasher.finish());
                    add(block.range.start, storage.damage(&block.range, *expected, found));
                }
                Sum::Proven(expected, found) => {
                    if found != expected {
                        add(block.range.start, storage.damage(&block.range, *expected, Some(*found)));
                    }
                }
                Sum::Record(sum) => {
                    let whole = sums.entry(block.storage).or_default();
                    *whole = whole.then(*sum);
                }
            }
        }
        for (storage, sum) in sums {
            let Some(storage) = self.storages.get(storage) else { continue };
            if let Some(expected) = storage.crc32.filter(|expected| *expected != sum.value()) {
                let record = storage.record.as_deref().unwrap_or_default();
                add(
                    storage.start,
                    storage.place(checksum_mismatch(record, expected, sum.value()), storage.start),
                );
            }
        }
        damaged.map(|(_, finding)| finding)
    }
}

impl Block {
    /// Takes in the next bytes of the block, which may be its last.
    fn feed(&self, bytes: &[u8], is_last: bool) {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *sum {
            Sum::Proof(expected, hasher) => {
                let hasher = hasher.get_or_insert_with(|| Box::new(Hasher::new(expected.algorithm())));
                hasher.update(bytes);
                if is_last {
                    *sum = Sum::Proven(*expected, hasher.finish());
                }
            }
            Sum::Proven(..) => {}
            Sum::Record(sum) => *sum = sum.then(Crc32::of(bytes)),
        }
    }
}

impl Checked {
    /// The finding for a block that hasn't its digest.
    fn damage(&self, range: &Range<u64>, expected: Digest, found: Option<Digest>) -> Finding {
        let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
        let message = format!(
            "{} bytes have the digest {found}, and the proof names {expected} for them",
            range.end - range.start
        );
        self.place(Finding::corrupted(Code::ChecksumMismatch, Level::Load, message), range.start)
    }

    /// Adds where the damage is.
    fn place(&self, mut finding: Finding, offset: u64) -> Finding {
        finding.at.tensor.clone_from(&self.tensor);
        finding.at.record.clone_from(&self.record);
        finding.at_offset(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_block_that_is_done_holds_no_hasher() {
        let digest = Algorithm::Blake3.digest(b"abcd");
        let block = |start: u64| Block {
            range: start..start + 4,
            storage: 0,
            sum: Mutex::new(Sum::Proof(digest, None)),
        };
        let checked = Checked { tensor: None, record: None, crc32: None, start: 0 };
        let checks = Checks { blocks: vec![block(0), block(4), block(8)], storages: vec![checked] };
        checks.feed(0, b"ab");
        checks.feed(2, b"cdabcdabc");
        let is_done = |block: &Block| matches!(*block.sum.lock().unwrap(), Sum::Proven(..));
        assert_eq!(checks.blocks.iter().map(is_done).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(checks.finding().unwrap().at.offset, Some(8));
        checks.feed(11, b"d");
        assert!(checks.finding().is_none());
    }
}
