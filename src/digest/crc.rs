//! CRCs that combine: the checksum of two runs of bytes from those of each.

macro_rules! crc {
    (
        $(#[doc = $doc:literal])+ $name:ident: $int:ty, $algorithm:expr, polynomial $polynomial:literal,
        of $(#[doc = $of:literal])+; then $(#[doc = $then:literal])+
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            value: $int,
            len: u64,
        }

        impl $name {
            /// The polynomial, as the checksum holds polynomials: the highest bit is the coefficient of x⁰.
            const POLYNOMIAL: $int = $polynomial;

            /// The polynomial 1.
            const ONE: $int = 1 << (<$int>::BITS - 1);

            /// x to the power of 2ᵏ modulo the polynomial, for each k that a length in bits can have.
            const POWERS: [$int; 67] = {
                let mut powers = [0; 67];
                let mut power = Self::ONE >> 1;
                let mut k = 0;
                while k < powers.len() {
                    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
                    {
                        powers[k] = power;
                    }
                    power = Self::multiply(power, power);
                    k += 1;
                }
                powers
            };

            $(#[doc = $of])+
            pub fn of(bytes: &[u8]) -> Self {
                // `crc-fast` returns every width as `u64`; a shorter one fills the lower bytes.
                let value = crc_fast::checksum($algorithm, bytes).to_le_bytes();
                let value = value.first_chunk().map_or(0, |value| <$int>::from_le_bytes(*value));
                Self { value, len: bytes.len() as u64 }
            }

            /// Takes a checksum that was computed before, with the length of what it covers.
            pub fn computed(value: $int, len: u64) -> Self {
                Self { value, len }
            }

            $(#[doc = $then])+
            #[must_use]
            pub fn then(self, next: Self) -> Self {
                if self.len == 0 {
                    return next;
                }
                if next.len == 0 {
                    return self;
                }
                let value = Self::multiply(Self::power_of_x_bytes(next.len), self.value) ^ next.value;
                Self { value, len: self.len + next.len }
            }

            /// Returns the checksum itself.
            pub fn value(self) -> $int {
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

            /// Multiplies two polynomials over GF(2) modulo the polynomial.
            const fn multiply(mut a: $int, mut b: $int) -> $int {
                let mut product = 0;
                while a != 0 {
                    if a & Self::ONE != 0 {
                        product ^= b;
                    }
                    a <<= 1;
                    b = (b >> 1) ^ if b & 1 == 0 { 0 } else { Self::POLYNOMIAL };
                }
                product
            }

            /// Returns x to the power of the bits in `len` bytes: what shifts a checksum past that many bytes.
            ///
            /// `crc-fast` can combine as well, but squares its way up each time: 15 µs, as long as the
            /// checksum of 1 MiB takes. With the squares in a table, a length of one set bit costs one
            /// product.
            fn power_of_x_bytes(len: u64) -> $int {
                let bits = Self::POWERS.iter().skip(3).enumerate().filter(|(bit, _)| len >> bit & 1 == 1);
                bits.fold(Self::ONE, |product, (_, &power)| Self::multiply(power, product))
            }
        }
    };
}

crc! {
    /// The CRC-32 of a run of bytes (IEEE 802.3, as ZIP has it), with the run's length, so that it can be
    /// combined.
    Crc32: u32, crc_fast::CrcAlgorithm::Crc32IsoHdlc, polynomial 0xEDB8_8320,
    of
    /// Computes the checksum of `bytes`.
    ///
    /// ```
    /// use ckpt::digest::Crc32;
    /// assert_eq!(Crc32::of(b"123456789").value(), 0xCBF4_3926);
    /// ```
    ;
    then
    /// Returns the checksum of these bytes followed by those of `next`.
    ///
    /// ```
    /// use ckpt::digest::Crc32;
    /// assert_eq!(Crc32::of(b"check").then(Crc32::of(b"point")), Crc32::of(b"checkpoint"));
    /// ```
}

crc! {
    /// The CRC-64/NVME of a run of bytes, with the run's length, so that it can be combined.
    Crc64: u64, crc_fast::CrcAlgorithm::Crc64Nvme, polynomial 0x9A6C_9329_AC4B_C9B5,
    of
    /// Computes the checksum of `bytes`.
    ///
    /// ```
    /// use ckpt::digest::Crc64;
    /// assert_eq!(Crc64::of(b"123456789").value(), 0xAE8B_1486_0A79_9888);
    /// ```
    ;
    then
    /// Returns the checksum of these bytes followed by those of `next`.
    ///
    /// ```
    /// use ckpt::digest::Crc64;
    /// assert_eq!(Crc64::of(b"check").then(Crc64::of(b"point")), Crc64::of(b"checkpoint"));
    /// ```
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_ones_combine_as_crc_fast_does(a in any::<u32>(), b in any::<u32>(), len in 1..u64::MAX >> 1) {
            let ours = Crc32 { value: a, len: 1 }.then(Crc32 { value: b, len });
            let algorithm = crc_fast::CrcAlgorithm::Crc32IsoHdlc;
            let theirs = crc_fast::checksum_combine(algorithm, a.into(), b.into(), len);
            prop_assert_eq!(u64::from(ours.value), theirs);
            prop_assert_eq!(ours.len, len + 1);
        }

        #[test]
        fn long_ones_combine_as_crc_fast_does(a in any::<u64>(), b in any::<u64>(), len in 1..u64::MAX >> 1) {
            let ours = Crc64 { value: a, len: 1 }.then(Crc64 { value: b, len });
            let theirs = crc_fast::checksum_combine(crc_fast::CrcAlgorithm::Crc64Nvme, a, b, len);
            prop_assert_eq!(ours.value, theirs);
        }

        #[test]
        fn parts_combine_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..300_usize) {
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(Crc32::of(head).then(Crc32::of(tail)), Crc32::of(&bytes));
            prop_assert_eq!(Crc64::of(head).then(Crc64::of(tail)), Crc64::of(&bytes));
        }
    }
}
