use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::marker::parse_map;
use super::proof::{BLOCK_BYTES, block_ranges, parse_blocks};
use crate::digest::{Algorithm, Digest, Hasher};

/// The content of a seal (`model.pt.seal`): what was known of a file that carries no proof itself.
///
/// In JSON: `bytes`, `algorithm`, `block_bytes`, `blocks` (the windows' digests one behind the other, as
/// hexadecimal digits) and `root`. The root is the digest of the line `bytes algorithm block_bytes` and the
/// blocks' bytes, so that a damaged seal doesn't pass for a damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The size of the sealed file, in bytes.
    pub bytes: u64,
    /// The digests of the file; none in a seal that holds the size alone.
    pub digests: Option<SealDigests>,
}

/// The digests of a sealed file's windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealDigests {
    /// What the digests were computed with.
    pub algorithm: Algorithm,
    /// The length of a window, in bytes; the last one may be shorter.
    pub block_bytes: u64,
    /// The digests of the windows, in order.
    pub blocks: Vec<Digest>,
}

/// A seal as it stands in JSON. One that has some of the digests' fields is half a seal: none.
#[derive(Default, Serialize, Deserialize)]
struct Raw {
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
}

impl Seal {
    /// The suffix added to the checkpoint's file name.
    pub const SUFFIX: &str = ".seal";

    /// Makes the seal of a file of `bytes` bytes from the digests of its windows of [`BLOCK_BYTES`].
    ///
    /// ```
    /// use ckpt::digest::Algorithm;
    /// use ckpt::record::Seal;
    /// let algorithm = Algorithm::Crc64Nvme;
    /// let seal = Seal::of_blocks(10, algorithm, vec![algorithm.digest(b"checkpoint")]);
    /// assert_eq!(Seal::parse(seal.encode().as_bytes()), Some(seal));
    /// ```
    pub fn of_blocks(bytes: u64, algorithm: Algorithm, blocks: Vec<Digest>) -> Self {
        Self { bytes, digests: Some(SealDigests { algorithm, block_bytes: BLOCK_BYTES, blocks }) }
    }

    /// Reads a seal's text; `None` where it isn't one, or a damaged one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let raw: Raw = parse_map(text)?;
        let bytes = raw.bytes;
        match raw {
            Raw { algorithm: None, block_bytes: None, blocks: None, root: None, .. } => {
                Some(Self { bytes, digests: None })
            }
            Raw {
                algorithm: Some(algorithm),
                block_bytes: Some(window),
                blocks: Some(blocks),
                root: Some(root),
                ..
            } => {
                let digests = SealDigests::parse(bytes, &algorithm, window, &blocks)?;
                let is_whole = Digest::from_hex(digests.algorithm, &root) == Some(digests.root(bytes));
                is_whole.then_some(Self { bytes, digests: Some(digests) })
            }
            _ => None,
        }
    }

    /// Returns the seal's text: one line.
    pub fn encode(&self) -> String {
        let raw = match &self.digests {
            None => Raw { bytes: self.bytes, ..Raw::default() },
            Some(digests) => Raw {
                bytes: self.bytes,
                algorithm: Some(digests.algorithm.to_string()),
                block_bytes: Some(digests.block_bytes),
                blocks: Some(digests.blocks.iter().map(Digest::to_string).collect()),
                root: Some(digests.root(self.bytes).to_string()),
            },
        };
        // Numbers and texts always become JSON.
        serde_json::to_string(&raw).unwrap_or_default() + "\n"
    }

    /// Returns the windows of the sealed file, in the order of the digests.
    pub fn windows(&self) -> Vec<Range<u64>> {
        self.digests
            .as_ref()
            .map_or_else(Vec::new, |digests| block_ranges(&[0..self.bytes], digests.block_bytes))
    }
}

impl SealDigests {
    /// Reads the digests of a file of `bytes` bytes: one for each window.
    fn parse(bytes: u64, algorithm: &str, block_bytes: u64, blocks: &str) -> Option<Self> {
        let algorithm = Algorithm::from_name(algorithm)?;
        let count = usize::try_from(bytes.div_ceil(Some(block_bytes).filter(|bytes| *bytes > 0)?)).ok()?;
        Some(Self { algorithm, block_bytes, blocks: parse_blocks(algorithm, count, blocks)? })
    }

    /// Returns what stands for a file of `bytes` bytes: the algorithm and the digest that holds the seal together.
    pub fn id(&self, bytes: u64) -> String {
        format!("{}:{}", self.algorithm, self.root(bytes))
    }

    /// Returns the digest that holds the seal together, for a file of `bytes` bytes.
    fn root(&self, bytes: u64) -> Digest {
        let mut hasher = Hasher::new(self.algorithm);
        hasher.update(format!("{bytes} {} {}\n", self.algorithm, self.block_bytes).as_bytes());
        self.blocks.iter().for_each(|block| hasher.update(block.as_bytes()));
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        let algorithm = Algorithm::Crc64Nvme;
        Seal::of_blocks(BLOCK_BYTES + 3, algorithm, vec![algorithm.digest(b"a"), algorithm.digest(b"b")])
    }

    #[test]
    fn a_seal_has_a_window_for_each_digest() {
        assert_eq!(seal().windows(), [0..BLOCK_BYTES, BLOCK_BYTES..BLOCK_BYTES + 3]);
        assert_eq!(Seal::parse(b"{\"bytes\": 3}"), Some(Seal { bytes: 3, digests: None }));
    }

    /// A damaged seal says nothing: no flipped bit makes it vouch for something else.
    #[test]
    fn no_flipped_bit_makes_another_seal() {
        let text = seal().encode().into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone();
                damaged[at] ^= 1 << bit;
                let read = Seal::parse(&damaged);
                assert!(read.is_none() || read == Some(seal()), "byte {at}, bit {bit}: {read:?}");
            }
        }
    }

    #[test]
    fn a_claim_of_tiny_windows_is_no_seal() {
        let text = seal().encode().replace("4194304", "1").replace("4194307", "18446744073709551615");
        assert_eq!(Seal::parse(text.as_bytes()), None);
    }
}
