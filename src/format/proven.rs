//! How a proof is held against the file that carries it.

use std::ops::Range;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::record::{Proof, block_ranges};

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
        self.head == self.proof.root && self.blocks().len() == self.proof.blocks.len()
    }

    /// Returns where the blocks lie, in the order of the proof's digests.
    pub fn blocks(&self) -> Vec<Range<u64>> {
        block_ranges(&self.data, self.proof.block_bytes)
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
