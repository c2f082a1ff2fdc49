//! Bytes that can't be used as they lie in the file: deflated, or big-endian.

use std::collections::HashMap;

use super::faults;
use super::structure::Structure;
use crate::Dtype;
use crate::digest::Crc32;
use crate::format::torch::archive::checksum_mismatch;
use crate::format::zip::{Entry, inflate_to_memory};
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level};
use crate::tensor::{Body, Node, StorageId, swap, swap_width};

/// Decompresses a record, and holds what comes out against its checksum.
pub(super) fn inflate(source: &dyn ReadAt, entry: &Entry, verify: bool) -> Result<Vec<u8>, Finding> {
    let bytes = inflate_to_memory(source, entry).map_err(faults::finding)?;
    let Some(expected) = entry.crc32.filter(|_| verify) else { return Ok(bytes) };
    let found = Crc32::of(&bytes).value();
    if found == expected {
        return Ok(bytes);
    }
    Err(checksum_mismatch(&entry.name, expected, found).at_offset(entry.data.start))
}

/// Returns how the numbers in each storage of a big-endian file are to be turned: as those of the tensors in
/// it. Nothing where the file is little-endian.
///
/// # Errors
///
/// Two tensors in one storage have numbers of different sizes: what is right for one is wrong for the other.
pub(super) fn turns(structure: &Structure) -> Result<HashMap<StorageId, Dtype>, Finding> {
    let mut turns: HashMap<StorageId, Dtype> = HashMap::new();
    if !structure.big_endian {
        return Ok(turns);
    }
    let nodes = structure.tree.nodes().iter();
    let tensors = nodes.filter_map(|node| if let Node::Tensor(tensor) = node { Some(tensor) } else { None });
    for tensor in tensors {
        let Body::Strided { storage, .. } = &tensor.body else { continue };
        let dtype = *turns.entry(*storage).or_insert(tensor.dtype);
        if swap_width(dtype) != swap_width(tensor.dtype) {
            let message =
                format!("a big-endian storage holds {dtype} to one tensor and {} to another", tensor.dtype);
            return Err(Finding::incompatible(Code::ByteOrderUnknown, Level::Load, message));
        }
    }
    // A storage that no tensor lies in is turned as what it says that it is.
    for (number, storage) in (0_u32..).zip(structure.tree.storages()) {
        turns.entry(StorageId(number)).or_insert(storage.dtype.unwrap_or(Dtype::U8));
    }
    Ok(turns)
}

/// Turns the bytes of a storage's numbers, where they have to be.
pub(super) fn turn(bytes: &mut [u8], dtype: Option<&Dtype>) {
    if let Some(dtype) = dtype {
        swap(bytes, *dtype);
    }
}
