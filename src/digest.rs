//! Checksums, and how those of neighbouring blocks combine.
//!
//! CRC-32 (IEEE 802.3, as ZIP uses it) by `crc-fast`, which runs at memory speed. A file is read by
//! several threads in blocks; each block's checksum is taken while the block is in cache, and the
//! blocks' checksums combine into that of the whole.

use crc_fast::CrcAlgorithm::Crc32IsoHdlc;

/// The CRC-32 of a run of bytes, with the run's length, so that it can be combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crc32 {
    value: u32,
    len: u64,
}

impl Crc32 {
    /// Computes the checksum of `bytes`.
    ///
    /// ```
    /// use ckpt::digest::Crc32;
    /// assert_eq!(Crc32::of(b"123456789").value(), 0xCBF4_3926);
    /// ```
    pub fn of(bytes: &[u8]) -> Self {
        Self { value: truncate(crc_fast::checksum(Crc32IsoHdlc, bytes)), len: bytes.len() as u64 }
    }

    /// Returns the checksum of these bytes followed by those of `next`.
    ///
    /// ```
    /// use ckpt::digest::Crc32;
    /// assert_eq!(Crc32::of(b"check").then(Crc32::of(b"point")), Crc32::of(b"checkpoint"));
    /// ```
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        if self.len == 0 {
            return next;
        }
        if next.len == 0 {
            return self;
        }
        let value = crc_fast::checksum_combine(Crc32IsoHdlc, self.value.into(), next.value.into(), next.len);
        Self { value: truncate(value), len: self.len + next.len }
    }

    /// Returns the checksum itself.
    pub fn value(self) -> u32 {
        self.value
    }

    /// Returns how many bytes it covers.
    pub fn len(self) -> u64 {
        self.len
    }

    /// Returns whether it covers no bytes.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// `crc-fast` returns every width as `u64`; a CRC-32 fills the lower half.
#[expect(clippy::cast_possible_truncation, reason = "a CRC-32 has 32 bits")]
fn truncate(value: u64) -> u32 {
    value as u32
}
