//! How a proof is held against the file that carries it.

use std::ops::Range;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::record::{Code, Finding, Level, Proof, ProofError, block_ranges};

/// What a file has for a proof.
#[derive(Clone, Debug)]
pub enum Carried {
    /// No proof: the file is somebody else's.
    Nothing,
    /// A proof of a later version, or one made with an algorithm that isn't known here. The file can be used;
    /// it can't be proven.
    Unknown(ProofError),
    /// A proof that can be held against the file.
    Proof(Box<Proven>),
}

impl Carried {
    /// Returns the proof, where there is one that is known.
    pub fn proven(self) -> Option<Proven> {
        match self {
            Self::Proof(proven) => Some(*proven),
            Self::Nothing | Self::Unknown(_) => None,
        }
    }
}

/// The finding for half a proof, or one that isn't where it was put: no program but ckpt writes any part of
/// it, so what is left of one was damaged, or carried along by a program that wrote the rest anew.
pub(super) fn half_proof(what: impl std::fmt::Display) -> Finding {
    let message = format!("{what}: the file was damaged, or rewritten by another program");
    Finding::corrupted(Code::ProofDamaged, Level::Container, message)
}

/// A proof that was read, with what it vouches for.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The proof.
    pub proof: Proof,
    /// The digest of the head as it is in the file.
    pub head: Digest,
    /// Where the data lies, in the order of the file.
    pub data: Vec<Range<u64>>,
}

impl Proven {
    /// Returns whether the head is the one that was written: names, shapes, padding, and the digests of the
    /// blocks.
    pub fn is_head_intact(&self) -> bool {
        self.head == self.proof.root && self.has_all_blocks()
    }

    /// Returns where the blocks lie, in the order of the proof's digests; nothing where the proof hasn't one
    /// digest for each.
    pub fn blocks(&self) -> Vec<Range<u64>> {
        if self.has_all_blocks() { block_ranges(&self.data, self.proof.block_bytes) } else { Vec::new() }
    }

    /// Returns whether there is one digest for each block. The blocks are counted, not listed: a proof may
    /// claim windows of one byte.
    fn has_all_blocks(&self) -> bool {
        let window = self.proof.block_bytes.max(1);
        let count = |range: &Range<u64>| match range.end.checked_sub(1) {
            Some(last) if last >= range.start => last / window - range.start / window + 1,
            _ => 0,
        };
        let blocks = self.data.iter().fold(0, |sum: u64, range| sum.saturating_add(count(range)));
        blocks == self.proof.blocks.len() as u64
    }
}

/// Computes a head's digest with some of its bytes blank: the root's digits as `0`, and zero bytes where a
/// format keeps a checksum of the proof itself.
///
/// `blanks` are sorted, don't overlap, and lie inside `head`; each comes with what stands for its bytes.
///
/// ```
/// use ckpt::digest::Algorithm;
/// use ckpt::format::head_digest;
/// let algorithm = Algorithm::Crc64Nvme;
/// assert_eq!(head_digest(algorithm, b"root=1f;", &[(5..7, b'0')]), algorithm.digest(b"root=00;"));
/// ```
pub fn head_digest(algorithm: Algorithm, head: &[u8], blanks: &[(Range<usize>, u8)]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    let mut at = 0;
    for (range, filler) in blanks {
        hasher.update(head.get(at..range.start).unwrap_or_default());
        hasher.update(&vec![*filler; range.len()]);
        at = range.end;
    }
    hasher.update(head.get(at..).unwrap_or_default());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(data: Vec<Range<u64>>, block_bytes: u64, blocks: usize) -> Proven {
        let head = Algorithm::Crc64Nvme.digest(b"head");
        let proof =
            Proof { root: head, block_bytes, writer: "w".into(), position: None, blocks: vec![head; blocks] };
        Proven { proof, head, data }
    }

    #[test]
    fn blocks_are_counted_as_they_are_cut() {
        for data in
            [vec![], vec![3..3, 4..5], vec![0..4, 4..9], vec![7..8, 8..17], vec![u64::MAX - 1..u64::MAX]]
        {
            let blocks = block_ranges(&data, 4);
            assert_eq!(proven(data.clone(), 4, blocks.len()).blocks(), blocks);
            assert!(proven(data.clone(), 4, blocks.len()).is_head_intact());
            assert!(!proven(data, 4, blocks.len() + 1).is_head_intact());
        }
    }

    #[test]
    fn a_claim_of_tiny_windows_is_not_listed() {
        let proven = proven(vec![0..u64::MAX, 0..u64::MAX], 1, 1);
        assert!(!proven.is_head_intact() && proven.blocks().is_empty());
    }
}
