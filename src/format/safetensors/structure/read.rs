use super::flat::flat;
use super::parse::parse;
use super::{Contents, STRUCTURE_KEY};
use crate::format::Flaw;
use crate::format::safetensors::Header;
use crate::record::{Code, Finding, Level};
use crate::tensor::{NodeId, Tree};

/// Makes the values of a header: as the structure says, or, where there is none, a flat dict of the header's
/// tensors in the order of their data.
///
/// The data isn't read. The work and the memory are a small multiple of the header's length.
///
/// # Errors
///
/// The structure is no JSON, contradicts itself or the header's tensors (*corrupted*), or is of another
/// version or too complex (*incompatible*). All at [`Level::Load`].
///
/// ```
/// use ckpt::format::safetensors::{read_header, structure};
/// let file = b"\x3a\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}  \0\0\0\0\0\0\0\0";
/// let contents = structure::read(&read_header(&file.to_vec())?)?;
/// assert!(contents.tree.get(contents.tree.root(), "w").is_some());
/// assert_eq!(contents.ranges, [Some(66..74)]);
/// # Ok::<(), ckpt::format::Flaw>(())
/// ```
pub fn read(header: &Header) -> Result<Contents, Flaw> {
    let contents = match header.metadata.get(STRUCTURE_KEY) {
        Some(text) => parse(text, header)?,
        None => plain(header),
    };
    contents.tree.walk(|_| {}).map_err(|error| {
        Finding::incompatible(Code::TooComplex, Level::Load, format!("the structure: {error}"))
    })?;
    Ok(contents)
}

/// The contents of a file without a structure.
fn plain(header: &Header) -> Contents {
    let mut tensors: Vec<_> = header.tensors.iter().collect();
    // Stable: tensors without bytes keep the header's order.
    tensors.sort_by_key(|tensor| (tensor.start, tensor.end));
    let (nodes, storages) = flat(tensors.iter().map(|tensor| &tensor.info));
    let root = NodeId(u32::try_from(nodes.len().saturating_sub(1)).unwrap_or(u32::MAX));
    let ranges = tensors.iter().map(|tensor| Some(tensor.start..tensor.end)).collect();
    Contents { tree: Tree::new(nodes, storages, root), ranges }
}
