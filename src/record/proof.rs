//! The proof that travels inside a file.
//!
//! One line of ASCII, its words separated by single spaces:
//!
//! | word | content |
//! |---|---|
//! | magic | `ckpt-proof/1` |
//! | algorithm | `crc64-nvme` or `blake3`: what the digests are computed with |
//! | root | the digest of the head: hexadecimal digits |
//! | block | the length of a window in bytes, in decimal |
//! | writer | who wrote the file: `ckpt/0.1.0` |
//! | position | `step:1200`, `stage:merge`, or `-` |
//! | count | the number of blocks, in decimal |
//! | blocks | the blocks' digests one behind the other; no word where there are none |
//!
//! A **block** is a part of a tensor's data (in a torch archive, of a storage's) that lies in one window of
//! the file; windows begin at multiples of the window's length. The blocks stand in the order of the
//! file. The **head** is all that is no such data: names, shapes, padding, and this line. Its digest is
//! taken with the root's own digits as zeros, so that the root vouches for the blocks' digests and they
//! for the data: no byte of the file is left out.
//!
//! All but the writer and the position has a length that is known before the first byte is written, so
//! that the place can be reserved, and the line be written last.

use std::ops::Range;

use super::Position;
use crate::digest::{Algorithm, Digest};

/// The length of a window in the files that are written now, in bytes.
pub const BLOCK_BYTES: u64 = 4 << 20;

/// The proof of one file: who wrote it, and the digests of what was written.
///
/// It is a proof against damage, not against an attacker: it is no signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The digest of the head, which covers the digests of the blocks. It stands for the file.
    pub root: Digest,
    /// The length of a window, in bytes.
    pub block_bytes: u64,
    /// Who wrote the file: a name and a version, without spaces.
    pub writer: String,
    /// Where in the work the checkpoint was made.
    pub position: Option<Position>,
    /// The digests of the blocks, in the order of the file.
    pub blocks: Vec<Digest>,
}

/// Why a text is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The text doesn't begin like a proof.
    #[error("the proof doesn't begin with '{}'", Proof::MAGIC)]
    Magic,
    /// The proof begins like one of another version.
    #[error("the proof is of a version that isn't known: upgrade ckpt to read it")]
    Version,
    /// The algorithm isn't known.
    #[error("the proof names an algorithm that isn't known: upgrade ckpt to read it")]
    Algorithm,
    /// A word is missing or malformed.
    #[error("the proof's {0} is missing or malformed")]
    Word(&'static str),
}

impl Proof {
    /// The first word.
    pub const MAGIC: &str = "ckpt-proof/1";

    /// What the first words of all versions begin with.
    pub const MAGIC_STEM: &str = "ckpt-proof/";

    /// Returns what stands for the file: the algorithm and the root.
    ///
    /// Two files with the same id have the same bytes: for certain with BLAKE3, and as far as nobody
    /// means harm with a CRC.
    pub fn id(&self) -> String {
        format!("{}:{}", self.root.algorithm(), self.root)
    }

    /// Returns where the root's digits stand in the line.
    pub fn root_range(algorithm: Algorithm) -> Range<usize> {
        let start = Self::MAGIC.len() + 1 + algorithm.as_str().len() + 1;
        start..start + 2 * algorithm.digest_bytes()
    }

    /// Returns the line.
    pub fn encode(&self) -> String {
        let algorithm = self.root.algorithm();
        let position = self.position.as_ref().map_or_else(|| "-".to_owned(), Position::to_string);
        let Self { root, block_bytes, writer, blocks, .. } = self;
        let count = blocks.len();
        let mut line =
            format!("{} {algorithm} {root} {block_bytes} {writer} {position} {count}", Self::MAGIC);
        line.reserve(1 + count * 2 * algorithm.digest_bytes());
        for (at, block) in blocks.iter().enumerate() {
            if at == 0 {
                line.push(' ');
            }
            line.push_str(&block.to_string());
        }
        line
    }

    /// Reads a line.
    ///
    /// # Errors
    ///
    /// See [`ProofError`]. A line of another version or algorithm is told from a malformed one.
    pub fn parse(line: &str) -> Result<Self, ProofError> {
        let mut words = line.split(' ');
        let mut word = |name| words.next().filter(|word| !word.is_empty()).ok_or(ProofError::Word(name));
        match word("magic")? {
            Self::MAGIC => {}
            other if is_later(other) => return Err(ProofError::Version),
            _ => return Err(ProofError::Magic),
        }
        let algorithm = Algorithm::from_name(word("algorithm")?).ok_or(ProofError::Algorithm)?;
        let root = Digest::from_hex(algorithm, word("root")?).ok_or(ProofError::Word("root"))?;
        let block_bytes = word("block")?.parse().ok().filter(|bytes| *bytes > 0);
        let block_bytes = block_bytes.ok_or(ProofError::Word("block"))?;
        let writer = word("writer")?.to_owned();
        let position = match word("position")? {
            "-" => None,
            text => Some(text.parse().map_err(|_| ProofError::Word("position"))?),
        };
        let count: usize = word("count")?.parse().map_err(|_| ProofError::Word("count"))?;
        let digits = if count == 0 { "" } else { word("blocks")? };
        let blocks = parse_blocks(algorithm, count, digits).ok_or(ProofError::Word("blocks"))?;
        if words.next().is_some() {
            return Err(ProofError::Word("end"));
        }
        Ok(Self { root, block_bytes, writer, position, blocks })
    }
}

/// Returns whether a first word is that of a version that isn't known.
fn is_later(word: &str) -> bool {
    let version = word.strip_prefix(Proof::MAGIC_STEM);
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Reads as many digests as were counted, no fewer and no more.
pub(super) fn parse_blocks(algorithm: Algorithm, count: usize, digits: &str) -> Option<Vec<Digest>> {
    let width = 2 * algorithm.digest_bytes();
    if count.checked_mul(width)? != digits.len() || !digits.is_ascii() {
        return None;
    }
    let digest = |at: usize| Digest::from_hex(algorithm, digits.get(at * width..(at + 1) * width)?);
    (0..count).map(digest).collect()
}

/// Cuts ranges of a file where windows meet, in the given order: the blocks of a proof.
///
/// ```
/// use ckpt::record::block_ranges;
/// assert_eq!(block_ranges(&[10..30, 30..30, 35..45], 20), [10..20, 20..30, 35..40, 40..45]);
/// ```
pub fn block_ranges(data: &[Range<u64>], block_bytes: u64) -> Vec<Range<u64>> {
    let block_bytes = block_bytes.max(1);
    let mut blocks = Vec::new();
    for range in data {
        let mut start = range.start;
        while start < range.end {
            let next = (start / block_bytes).saturating_add(1).saturating_mul(block_bytes);
            let end = range.end.min(next);
            blocks.push(start..end);
            start = end;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(algorithm: Algorithm) -> Proof {
        Proof {
            root: algorithm.digest(b"head"),
            block_bytes: BLOCK_BYTES,
            writer: "ckpt/0.1.0".into(),
            position: Some(Position::Stage("merge all".into())),
            blocks: vec![algorithm.digest(b"a"), algorithm.digest(b"b")],
        }
    }

    #[test]
    fn a_line_is_read_back() {
        for algorithm in Algorithm::ALL {
            let mut proof = proof(algorithm);
            assert_eq!(Proof::parse(&proof.encode()), Ok(proof.clone()));
            proof.position = Some(Position::Step(7));
            proof.blocks.clear();
            assert_eq!(Proof::parse(&proof.encode()), Ok(proof.clone()));
            proof.position = None;
            let line = proof.encode();
            assert_eq!(line[Proof::root_range(algorithm)], proof.root.to_string());
        }
    }

    /// Any byte that changes gives another proof or none: what the root vouches for is the line itself.
    #[test]
    fn no_change_of_a_byte_is_the_same_proof() {
        let proof = proof(Algorithm::Crc64Nvme);
        let line = proof.encode();
        for at in 0..line.len() {
            for bit in 0..7 {
                let mut bytes = line.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                // A writer's or a stage's name may have more than one spelling; it stays in the head.
                if let Ok(read) = Proof::parse(&changed) {
                    assert!(read != proof || read.encode() != changed, "{changed}");
                }
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let line = proof(Algorithm::Crc64Nvme).encode();
        for (from, to, error) in [
            ("ckpt-proof/1", "ckpt-prxof/1", ProofError::Magic),
            ("ckpt-proof/1", "ckpt-proof/2", ProofError::Version),
            ("crc64-nvme", "crc65-nvme", ProofError::Algorithm),
            ("4194304", "0", ProofError::Word("block")),
            ("4194304", "", ProofError::Word("block")),
            ("stage:", "stagf:", ProofError::Word("position")),
            (" 2 ", " 3 ", ProofError::Word("blocks")),
            (" 2 ", " 18446744073709551615 ", ProofError::Word("blocks")),
            (" 2 ", " x ", ProofError::Word("count")),
        ] {
            assert_eq!(Proof::parse(&line.replacen(from, to, 1)), Err(error), "{from} → {to}");
        }
        assert_eq!(Proof::parse(&format!("{line} ")), Err(ProofError::Word("end")));
        assert_eq!(Proof::parse(""), Err(ProofError::Word("magic")));
    }

    #[test]
    fn blocks_end_where_windows_do() {
        assert_eq!(block_ranges(&[], 4), []);
        assert_eq!(block_ranges(&[4..8, 8..12], 4), [4..8, 8..12]);
        assert_eq!(block_ranges(&[u64::MAX - 2..u64::MAX], 4), [u64::MAX - 2..u64::MAX]);
    }
}
