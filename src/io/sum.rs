//! What a scan computes of the bytes that go by.

use crate::digest::{Algorithm, Crc32, Crc64, Digest, Hasher};

/// A checksum of bytes that come in parts: one after the other within a read, and read by read in the order of
/// the file.
pub(super) trait Sum: Default + Send {
    /// Takes in the next bytes of the read.
    fn feed(&mut self, bytes: &[u8]);

    /// Hears that the read's bytes are all there: what was only needed for more of them can go.
    fn finish(&mut self) {}

    /// Takes in what was computed of the next read.
    fn join(&mut self, next: Self);
}

impl Sum for Crc32 {
    fn feed(&mut self, bytes: &[u8]) {
        *self = self.then(Self::of(bytes));
    }

    fn join(&mut self, next: Self) {
        *self = self.then(next);
    }
}

impl Sum for Crc64 {
    fn feed(&mut self, bytes: &[u8]) {
        *self = self.then(Self::of(bytes));
    }

    fn join(&mut self, next: Self) {
        *self = self.then(next);
    }
}

/// BLAKE3, whose digests don't combine: all bytes come in one read.
#[derive(Debug, Default)]
pub(super) enum Blake3 {
    /// No bytes yet. A hasher takes two kilobytes, and a large file has many thousands of blocks that wait.
    #[default]
    Waiting,
    /// Some of the bytes.
    Hashing(Box<Hasher>),
    /// All of them.
    Done(Digest),
}

impl Blake3 {
    /// Returns the digest; that of no bytes where none came.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Waiting => Algorithm::Blake3.digest(b""),
            Self::Hashing(hasher) => hasher.finish(),
            Self::Done(digest) => *digest,
        }
    }
}

impl Sum for Blake3 {
    fn feed(&mut self, bytes: &[u8]) {
        if let Self::Waiting = self {
            *self = Self::Hashing(Box::new(Hasher::new(Algorithm::Blake3)));
        }
        if let Self::Hashing(hasher) = self {
            hasher.update(bytes);
        }
    }

    fn finish(&mut self) {
        *self = Self::Done(self.digest());
    }

    /// There is one read to each: the other side is still empty.
    fn join(&mut self, next: Self) {
        if let Self::Waiting = self {
            *self = next;
        }
    }
}
