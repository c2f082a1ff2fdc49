//! A state as a safetensors file that carries its own proof.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the length of the header |
//! | `{"__metadata__":{"ckpt.proof":"` | always these, so that the proof stands at a constant place |
//! | the proof | one line: see [`Proof`](crate::record::Proof) |
//! | the rest of the metadata | `format`, `ckpt.structure` where it is needed, the caller's own |
//! | the tensors | in the order of their data |
//! | spaces | up to a multiple of 4,096 |
//! | the data | largest elements first, then by name; no holes, so that each tensor is aligned to its elements |
//!
//! A tensor's name is its keys joined by dots. Where two tensors would have the same, the later one's gets
//! a suffix (`~2`), and the [structure](super::structure) says whose it is.
//!
//! Bytes that several tensors share are stored once. A tensor that alone sees a part of its storage is
//! stored as that part: what nobody sees is left out.

mod gather;
mod head;
mod names;
mod order;
mod plan;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::structure::{flat, text};
use crate::Error;
use crate::format::{EncodeOptions, Encoding, Head};
use crate::io::write::{Piece, PieceDigest};
use crate::record::TensorInfo;
use crate::tensor::{Node, NodeId, Source, State, StorageId, Tree};
use head::HeadPlan;
use plan::Stored;

/// A state as a safetensors file.
pub struct SafetensorsEncoding<'s> {
    /// What isn't empty, in the order of the file, with its place.
    data: Vec<(Range<u64>, Box<dyn Source + 's>)>,
    /// Where the storages begin that are stored as they are.
    places: Vec<(StorageId, u64)>,
    head: HeadPlan,
    len: u64,
}

/// Lays a state out as a safetensors file. No byte of its tensors is read yet.
///
/// # Errors
///
/// The metadata has a key that is the project's own; the state contradicts itself (a tensor reaches outside
/// its storage, a container contains itself); or the header would be longer than readers accept, 100 MB.
pub fn encode<'s>(state: &'s State<'_>, options: &EncodeOptions) -> Result<SafetensorsEncoding<'s>, Error> {
    options.check()?;
    if state.tree().nodes().iter().any(|node| matches!(node, Node::Floats(_))) {
        return Err(Error::usage(Node::PACKED));
    }
    let mut ordered = order::order(state.tree())?;
    let mut plan = plan::plan(&mut ordered, state)?;
    let order::Ordered { nodes, mut storages, .. } = ordered;
    let root = u32::try_from(nodes.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let tree = Tree::new(nodes.clone(), storages.clone(), NodeId(root));
    names::assign(&tree, &mut plan)?;
    for (storage, stored) in storages.iter_mut().zip(&plan) {
        storage.key = stored.as_ref().map(|stored| stored.info.name.clone()).unwrap_or_default();
    }
    let infos: Vec<_> = plan.iter().map(|stored| stored.as_ref().map(|stored| stored.info.clone())).collect();
    let mut stored: Vec<Stored<'s>> = plan.into_iter().flatten().collect();
    stored.sort_by(|one, other| {
        let sizes = other.info.dtype.bits().cmp(&one.info.dtype.bits());
        sizes.then_with(|| one.info.name.cmp(&other.info.name))
    });
    let (bare, owned) = flat(stored.iter().map(|stored| &stored.info));
    let structure = (bare != nodes || owned != storages).then(|| text(&nodes, &storages, &infos));
    let in_order: Vec<&TensorInfo> = stored.iter().map(|stored| &stored.info).collect();
    let head = HeadPlan::new(&in_order, structure.as_deref(), options)?;
    let ranges = head.data();
    let len = ranges.last().map_or(head.data_start, |range| range.end);
    let place = |(range, stored): (&Range<u64>, &Stored<'_>)| Some((stored.storage?, range.start));
    let places =
        ranges.iter().zip(&stored).filter(|(range, _)| !range.is_empty()).filter_map(place).collect();
    let data = ranges.into_iter().zip(stored).filter(|(range, _)| !range.is_empty());
    let data = data.map(|(range, stored)| (range, stored.source)).collect();
    Ok(SafetensorsEncoding { data, places, head, len })
}

impl Encoding for SafetensorsEncoding<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        self.data
            .iter()
            .map(|(range, source)| Piece { offset: range.start, source: &**source, is_data: true })
            .collect()
    }

    fn places(&self) -> Vec<(StorageId, u64)> {
        self.places.clone()
    }

    fn needs_crc32(&self) -> bool {
        false
    }

    fn finish(&self, digests: &[PieceDigest]) -> Head {
        let blocks = digests.iter().flat_map(|digest| digest.blocks.iter().copied()).collect();
        let (bytes, proof) = self.head.finish(blocks);
        Head { parts: vec![(0, bytes)], proof }
    }
}

impl std::fmt::Debug for SafetensorsEncoding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SafetensorsEncoding({} bytes, {} pieces)", self.len, self.data.len())
    }
}
