use std::ops::Range;

/// One entry of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name, with slashes.
    pub name: String,
    /// How the data is stored.
    pub method: Method,
    /// The CRC-32 of the uncompressed data; `None` where the writer computed none.
    ///
    /// PyTorch writes 0 everywhere when its checksums are off (`set_crc32_options(False)`), and so
    /// does `skip_data`. A damaged field can't pass for that: the copies beside the data would
    /// disagree.
    pub crc32: Option<u32>,
    /// The size of the data in the archive, in bytes.
    pub stored: u64,
    /// The size of the data when uncompressed, in bytes.
    pub size: u64,
    /// Where the local header begins.
    pub header: u64,
    /// Where the entry begins in the directory, in bytes from the file's start.
    pub central: u64,
    /// Where the data lies.
    pub data: Range<u64>,
    /// What the directory says, as it stands there.
    pub(super) raw: RawFields,
}

/// How an entry's data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// DEFLATE (RFC 1951).
    Deflated,
}

/// The directory's fields that only matter when they are compared.
#[derive(Clone, Debug, Default)]
pub(super) struct RawFields {
    /// The general purpose flags.
    pub(super) flags: u16,
    /// The number of the compression method.
    pub(super) method: u16,
    /// The CRC-32, 0 included.
    pub(super) crc32: u32,
    /// The name's bytes, where they are no UTF-8.
    pub(super) odd_name: Option<Box<[u8]>>,
}

impl Entry {
    /// Where the CRC-32 stands in a local header, and in the directory's entry, in bytes from its start.
    pub(crate) const CRC32_PLACES: [u64; 2] = [14, 16];

    /// Returns whether the sizes and the checksum stand behind the data as well (general purpose
    /// bit 3).
    pub fn has_descriptor(&self) -> bool {
        self.raw.flags & 0x0008 != 0
    }

    /// Returns the name as it stands in the archive.
    pub(super) fn name_bytes(&self) -> &[u8] {
        self.raw.odd_name.as_deref().unwrap_or(self.name.as_bytes())
    }

    /// Returns whether the entry is a folder.
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }
}
