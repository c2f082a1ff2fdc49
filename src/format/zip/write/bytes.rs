/// The value of a 32-bit field whose real value stands in a ZIP64 field.
pub(super) const SEE_ZIP64: u32 = u32::MAX;
/// The value of a 16-bit field whose real value stands in the ZIP64 end record.
pub(super) const SEE_ZIP64_SHORT: u16 = u16::MAX;

/// Little-endian fields, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) Vec<u8>);

impl Fields {
    /// Appends bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a field of two bytes.
    pub(super) fn short(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a field of four bytes.
    pub(super) fn long(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a field of eight bytes.
    pub(super) fn wide(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }
}

/// Returns what a 32-bit field says of a value: itself, or that it stands in a ZIP64 field.
pub(super) fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(SEE_ZIP64)
}

/// Returns whether a value doesn't fit a 32-bit field; the largest one is the sign for "see ZIP64".
pub(super) fn is_wide(value: u64) -> bool {
    narrow(value) == SEE_ZIP64
}

/// Returns what a 16-bit field says of a value: itself, or that it stands in the ZIP64 end record.
pub(super) fn short(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(SEE_ZIP64_SHORT)
}
