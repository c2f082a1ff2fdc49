//! A strict reader of ZIP archives.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10. A checkpoint's archive is read by several programs (miniz in
//! PyTorch, Python's `zipfile`, `unzip`), which trust different copies of the same facts. So this
//! reader takes the central directory as the truth, as PyTorch does, and refuses every archive in
//! which another copy disagrees: two readers could read it differently.
//!
//! An archive is laid out as
//!
//! ```text
//! (local header, data, data descriptor?)*  central directory  [ZIP64 end, ZIP64 locator]  end
//! ```
//!
//! and every byte must belong to exactly one of them. [`Archive::open`] reads the directory,
//! `local` the headers beside the data, and `write` makes both; `stray` finds headers where the directory is gone. Where the archive is PyTorch's own work, `layout` holds
//! even padding and unused fields to the values that PyTorch writes.

mod directory;
mod entry;
mod inflate;
mod layout;
mod local;
mod near;
mod stray;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod write;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::format::Flaw;
use crate::io::ReadAt;

pub use entry::{Entry, Method};
pub(crate) use inflate::{inflate_checksum, inflate_to_memory};
pub(crate) use stray::{Stray, descriptor_at, header_at, next_header};

/// The first bytes of an archive that has entries.
pub const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";
/// The first bytes of the end record: an archive without entries has nothing else.
pub const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";

/// A directory of more bytes than this is refused: a checkpoint with a million storages needs less
/// than half of it, and the whole of it is held in memory.
pub(crate) const MAX_DIRECTORY_BYTES: u64 = 256 << 20;

/// An archive whose directory and headers agree.
#[derive(Debug)]
pub struct Archive {
    /// The entries, in the directory's order.
    pub entries: Vec<Entry>,
    /// Whether PyTorch's own writer made the archive: its padding is exact.
    pub by_torch: bool,
}

impl Archive {
    /// Reads the directory and every local header, and holds them against each other.
    ///
    /// Costs a read of the directory and one small read per entry; no data is read.
    ///
    /// # Errors
    ///
    /// The first fact that makes the archive unusable: see the module's documentation.
    pub fn open(source: &dyn ReadAt) -> Result<Self, Flaw> {
        let tail = tail::Tail::find(source)?;
        let bytes = tail.read_directory(source)?;
        let mut entries = directory::parse(&bytes, &tail)?;
        let headers = local::read_all(source, &mut entries, tail.directory.start)?;
        let by_torch = layout::is_torch(&headers);
        if by_torch {
            layout::check(&tail, &entries, &headers, &bytes)?;
        }
        directory::check_usable(&entries)?;
        directory::check_names(&entries)?;
        Ok(Self { entries, by_torch })
    }

    /// Digests names, sizes and checksums of all entries: archives of one digest hold the same. `None` where an entry has no
    /// checksum.
    pub(crate) fn digest(&self) -> Option<Digest> {
        let mut hasher = Hasher::new(Algorithm::Crc64Nvme);
        for entry in &self.entries {
            hasher.update(&(entry.name.len() as u64).to_le_bytes());
            hasher.update(entry.name.as_bytes());
            hasher.update(&entry.size.to_le_bytes());
            hasher.update(&entry.crc32?.to_le_bytes());
        }
        Some(hasher.finish())
    }

    /// Finds an entry by its full name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}
