use std::collections::BTreeMap;

use super::check;
use super::parse::{self, Parsed};
use crate::format::Flaw;
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level, TensorInfo};

/// The bytes before the header: its length.
pub(super) const LENGTH_BYTES: u64 = 8;

/// The shortest header: `{}`.
pub(super) const MIN_HEADER_BYTES: u64 = 2;

/// The longest header that is read. The reference implementation has the same limit, so that a
/// longer one is of no use to anybody; the largest real ones have some megabytes.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A header that was read and held against the file's length.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Header {
    /// The tensors, in the header's order.
    pub tensors: Vec<Tensor>,
    /// The header's `__metadata__`; empty where there is none.
    pub metadata: BTreeMap<String, String>,
    /// Where the data starts, in bytes from the file's start.
    pub data_start: u64,
    /// What deviates from the specification and is tolerated by all readers.
    pub notes: Vec<Finding>,
}

/// A tensor, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The tensor's name, dtype, shape and size.
    pub info: TensorInfo,
    /// The first byte, counted from the file's start.
    pub start: u64,
    /// The byte behind the last one, counted from the file's start.
    pub end: u64,
}

/// Reads and checks the header of a safetensors file.
///
/// Reads the header alone: the data's bytes aren't touched. Memory is a small multiple of the
/// header's length, which is looked at before anything is allocated.
///
/// # Errors
///
/// The first fault found, gravest kind first: a length that doesn't fit, a header that is no JSON,
/// names that appear twice, ranges that don't fit their tensors or the file (all but the names are
/// *corrupted*), and what is well-formed and no reader can use (*incompatible*). All at
/// [`Level::Container`].
///
/// ```
/// let file = b"\x3a\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}  \0\0\0\0\0\0\0\0";
/// let header = ckpt::format::safetensors::read_header(&file.to_vec())?;
/// assert_eq!(header.tensors[0].info.name, "w");
/// assert_eq!(header.tensors[0].info.shape, [2, 1]);
/// # Ok::<(), ckpt::format::Flaw>(())
/// ```
pub fn read_header(source: &dyn ReadAt) -> Result<Header, Flaw> {
    let length = read_length(source)?;
    let text = read_text(source, length)?;
    let mut notes = Vec::new();
    if !text.starts_with('{') && text.trim_ascii_start().starts_with('{') {
        notes.push(leading_space());
    }
    let data_start = LENGTH_BYTES + length;
    let Parsed { entries, metadata, unusable } = parse::parse(&text)?;
    drop(text);
    check::names(&entries)?;
    check::layout(&entries, data_start, source.len())?;
    if let Some(finding) = unusable {
        return Err(finding.into());
    }
    let tensors = entries.into_iter().filter_map(|entry| entry.into_tensor(data_start)).collect();
    Ok(Header { tensors, metadata, data_start, notes })
}

/// Reads the header's length and holds it against the file's.
fn read_length(source: &dyn ReadAt) -> Result<u64, Flaw> {
    if source.len() < LENGTH_BYTES {
        let message =
            format!("the file ends after {} bytes, within the header's length, which takes 8", source.len());
        return Err(Finding::corrupted(Code::Truncated, Level::Container, message)
            .at_offset(source.len())
            .into());
    }
    let mut bytes = [0; 8];
    source.read_exact_at(&mut bytes, 0)?;
    let length = u64::from_le_bytes(bytes);
    check_length(length, source)?;
    Ok(length)
}

fn check_length(length: u64, source: &dyn ReadAt) -> Result<(), Flaw> {
    let rest = source.len() - LENGTH_BYTES;
    let finding = if length < MIN_HEADER_BYTES {
        let message = format!("the header's length is {length}; the shortest header, {{}}, has 2 bytes");
        Finding::corrupted(Code::HeaderLength, Level::Container, message)
    } else if length <= rest && length <= MAX_HEADER_BYTES {
        return Ok(());
    } else if length <= rest {
        let message = format!(
            "the header has {length} bytes; this reader and the reference reader stop at {MAX_HEADER_BYTES}"
        );
        Finding::incompatible(Code::TooComplex, Level::Container, message)
    } else {
        too_long(length, rest, source)?
    };
    Err(finding.at_offset(0).into())
}

/// Tells a file that ends within its header from one whose length field is wrong.
fn too_long(length: u64, rest: u64, source: &dyn ReadAt) -> Result<Finding, Flaw> {
    let mut first = [0];
    if length <= MAX_HEADER_BYTES && rest > 0 {
        source.read_exact_at(&mut first, LENGTH_BYTES)?;
    }
    let code = if first == *b"{" { Code::Truncated } else { Code::HeaderLength };
    let message = format!("the header's length is {length}, and the file has {rest} bytes after that field");
    Ok(Finding::corrupted(code, Level::Container, message))
}

/// Reads the header's text. `length` is no more than the file has.
fn read_text(source: &dyn ReadAt, length: u64) -> Result<String, Flaw> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    source.read_exact_at(&mut bytes, LENGTH_BYTES)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("the header is no UTF-8: byte {at} of it starts no character");
        Finding::corrupted(Code::HeaderMalformed, Level::Container, message)
            .at_offset(LENGTH_BYTES + at as u64)
            .into()
    })
}

fn leading_space() -> Finding {
    let message = "the header starts with whitespace; the specification asks for '{', readers accept it";
    Finding::note(Code::HeaderTolerated, Level::Container, message).at_offset(LENGTH_BYTES)
}
