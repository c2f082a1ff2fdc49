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
        let value = multiply(power_of_x_bytes(next.len), self.value) ^ next.value;
        Self { value, len: self.len + next.len }
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

/// The polynomial of CRC-32, as the checksum holds polynomials: bit 31 is the coefficient of x⁰.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// x to the power of 2ᵏ modulo [`POLYNOMIAL`], for each k that a length in bits can have.
const POWERS: [u32; 67] = {
    let mut powers = [0; 67];
    let mut power = 1 << 30;
    let mut k = 0;
    while k < powers.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
        {
            powers[k] = power;
        }
        power = multiply(power, power);
        k += 1;
    }
    powers
};

/// Multiplies two polynomials over GF(2) modulo [`POLYNOMIAL`].
const fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while a != 0 {
        if a & 1 << 31 != 0 {
            product ^= b;
        }
        a <<= 1;
        b = (b >> 1) ^ if b & 1 == 0 { 0 } else { POLYNOMIAL };
    }
    product
}

/// Returns x to the power of the bits in `len` bytes: what shifts a checksum past that many bytes.
///
/// `crc-fast` can combine as well, but squares its way up each time: 15 µs, as long as the checksum of
/// 1 MiB takes. With the squares in a table, a length of one set bit costs one product.
fn power_of_x_bytes(len: u64) -> u32 {
    const ONE: u32 = 1 << 31;
    let bits = POWERS.iter().skip(3).enumerate().filter(|(bit, _)| len >> bit & 1 == 1);
    bits.fold(ONE, |product, (_, &power)| multiply(power, product))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn combines_as_crc_fast_does(a in any::<u32>(), b in any::<u32>(), len in 1..u64::MAX >> 1) {
            let ours = Crc32 { value: a, len: 1 }.then(Crc32 { value: b, len });
            let theirs = crc_fast::checksum_combine(Crc32IsoHdlc, a.into(), b.into(), len);
            prop_assert_eq!(u64::from(ours.value), theirs);
            prop_assert_eq!(ours.len, len + 1);
        }

        #[test]
        fn parts_combine_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..300_usize) {
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(Crc32::of(head).then(Crc32::of(tail)), Crc32::of(&bytes));
        }
    }
}
