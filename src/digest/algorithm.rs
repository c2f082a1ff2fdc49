use std::fmt;

use super::Crc64;

/// What the digests of a proof are computed with. The proof names it, so that it can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// CRC-64/NVME: as fast as memory, and finds every damage that isn't made on purpose, but for one in
    /// 2⁶⁴.
    #[default]
    Crc64Nvme,
    /// BLAKE3: two blocks of the same digest are the same, so that contents can be addressed by it. Costs
    /// about twice as much as copying.
    Blake3,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 2] = [Self::Crc64Nvme, Self::Blake3];

    /// Returns the name that stands in proofs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64-nvme",
            Self::Blake3 => "blake3",
        }
    }

    /// Finds an algorithm by its name.
    ///
    /// ```
    /// use ckpt::digest::Algorithm;
    /// assert_eq!(Algorithm::from_name("blake3"), Some(Algorithm::Blake3));
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Returns the length of a digest in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            Self::Crc64Nvme => 8,
            Self::Blake3 => MAX_BYTES,
        }
    }

    /// Computes the digest of `bytes`.
    ///
    /// ```
    /// use ckpt::digest::Algorithm;
    /// assert_eq!(Algorithm::Crc64Nvme.digest(b"123456789").to_string(), "ae8b14860a799888");
    /// ```
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The longest digest, in bytes.
const MAX_BYTES: usize = 32;

/// The digest of a run of bytes. It prints as lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// What the algorithm has no use for is zero.
    bytes: [u8; MAX_BYTES],
}

impl Digest {
    /// Returns what it was computed with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns its bytes; of a CRC, the most significant first.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.algorithm.digest_bytes()).0
    }

    /// Reads lower-case hexadecimal digits, exactly as many as the algorithm has.
    ///
    /// ```
    /// use ckpt::digest::{Algorithm, Digest};
    /// let digest = Digest::from_hex(Algorithm::Crc64Nvme, "ae8b14860a799888");
    /// assert_eq!(digest, Some(Algorithm::Crc64Nvme.digest(b"123456789")));
    /// assert_eq!(Digest::from_hex(Algorithm::Crc64Nvme, "AE8B14860A799888"), None);
    /// ```
    pub fn from_hex(algorithm: Algorithm, digits: &str) -> Option<Self> {
        if digits.len() != 2 * algorithm.digest_bytes() {
            return None;
        }
        let mut bytes = [0; MAX_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let &[high, low] = pair else { return None };
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Some(Self { algorithm, bytes })
    }
}

/// Returns the value of a hexadecimal digit; capital letters are none, so that a digest has one spelling.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl From<Crc64> for Digest {
    /// Takes a checksum for the digest that it is.
    fn from(checksum: Crc64) -> Self {
        let mut bytes = [0; MAX_BYTES];
        bytes.split_at_mut(8).0.copy_from_slice(&checksum.value().to_be_bytes());
        Self { algorithm: Algorithm::Crc64Nvme, bytes }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

/// Computes a digest of bytes that come one run after the other.
#[derive(Clone, Debug)]
pub struct Hasher(Inner);

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one hasher to a thread, not a list of them")]
enum Inner {
    Crc64(crc_fast::Digest),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Begins with no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Crc64Nvme => Inner::Crc64(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme)),
            Algorithm::Blake3 => Inner::Blake3(Box::new(blake3::Hasher::new())),
        })
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Crc64(digest) => digest.update(bytes),
            Inner::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// Returns the digest of all bytes so far.
    pub fn finish(&self) -> Digest {
        let mut bytes = [0; MAX_BYTES];
        let algorithm = match &self.0 {
            Inner::Crc64(digest) => {
                bytes.split_at_mut(8).0.copy_from_slice(&digest.finalize().to_be_bytes());
                Algorithm::Crc64Nvme
            }
            Inner::Blake3(hasher) => {
                bytes = *hasher.finalize().as_bytes();
                Algorithm::Blake3
            }
        };
        Digest { algorithm, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_definitions() {
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Algorithm::Blake3.digest(b"").to_string(), empty);
        assert_eq!(Algorithm::Crc64Nvme.digest(b"").to_string(), "0000000000000000");
    }

    #[test]
    fn a_checksum_is_its_digest() {
        assert_eq!(Digest::from(Crc64::of(b"checkpoint")), Algorithm::Crc64Nvme.digest(b"checkpoint"));
    }

    #[test]
    fn parts_digest_like_the_whole() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"check");
            hasher.update(b"point");
            assert_eq!(hasher.finish(), algorithm.digest(b"checkpoint"));
        }
    }

    #[test]
    fn hexadecimal_digits_are_read_back() {
        for algorithm in Algorithm::ALL {
            let digest = algorithm.digest(b"checkpoint");
            assert_eq!(Digest::from_hex(algorithm, &digest.to_string()), Some(digest));
            assert_eq!(Digest::from_hex(algorithm, &digest.to_string()[1..]), None);
            let other = "g".repeat(2 * algorithm.digest_bytes());
            assert_eq!(Digest::from_hex(algorithm, &other), None);
        }
    }
}
