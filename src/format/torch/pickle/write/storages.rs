//! Which storages a pickle names, and under which class.
//!
//! PyTorch gives every use of a storage the class of the first one. So a storage has one class in all its
//! uses: that of its tensors' type, where all have the same one and PyTorch has a class for it; else that of
//! untyped bytes, and each tensor says its type itself. A part of a storage, as files of before PyTorch 1.6
//! have them, is written as the storage that it is a part of.

use std::collections::HashMap;

use super::refusal::Refusal;
use crate::Dtype;
use crate::tensor::{NodeId, StorageId, Tree};

/// A storage that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The storage in the tree.
    pub(crate) id: StorageId,
    /// The type of its class; `None` for untyped bytes.
    pub(crate) class: Option<Dtype>,
    /// The size in bytes.
    pub(crate) bytes: u64,
}

/// The storages of a tree in the order of their first use: the place is the key.
#[derive(Debug, Default)]
pub(super) struct Storages {
    planned: Vec<Planned>,
    uses: Vec<Uses>,
    places: HashMap<StorageId, usize>,
}

/// How a storage is used.
#[derive(Debug, Default)]
struct Uses {
    /// The types of the tensors that lie in it.
    dtypes: Vec<Dtype>,
    /// Whether one of them is quantized: these are rebuilt from typed storages only.
    quantized: bool,
    /// Whether it is a value by itself; then its class is its own.
    alone: bool,
    /// Where the last use was that made a difference.
    places: Vec<NodeId>,
}

impl Storages {
    /// Notes a tensor of some type in a storage.
    pub(super) fn use_in(
        &mut self,
        tree: &Tree,
        id: StorageId,
        dtype: Dtype,
        quantized: bool,
        open: &[NodeId],
    ) -> Result<(), String> {
        let (whole, start) = whole(tree, id)?;
        if dtype.bytes_for(1).is_none_or(|size| start % size != 0)
            || (start > 0 && dtype.elements_per_byte() > 1)
        {
            return Err("it lies in a part of a storage that begins within an element".to_owned());
        }
        let uses = self.add(tree, whole, open)?;
        if !uses.dtypes.contains(&dtype) {
            uses.dtypes.push(dtype);
            uses.places = open.to_vec();
        }
        uses.quantized |= quantized;
        Ok(())
    }

    /// Notes a storage that is a value by itself.
    pub(super) fn use_alone(&mut self, tree: &Tree, id: StorageId, open: &[NodeId]) -> Result<(), String> {
        let (root, start) = whole(tree, id)?;
        let bytes = |id| tree.storage(id).map(|storage| storage.bytes);
        if start != 0 || bytes(root) != bytes(id) {
            return Err("it is a part of another storage: only tensors can be that".to_owned());
        }
        if tree.storage(root).is_some_and(|storage| storage.device == "meta") {
            return Err("it has no bytes: it is on the meta device".to_owned());
        }
        let uses = self.add(tree, root, open)?;
        uses.alone = true;
        uses.places = open.to_vec();
        Ok(())
    }

    /// Finds or adds a storage.
    fn add(&mut self, tree: &Tree, id: StorageId, open: &[NodeId]) -> Result<&mut Uses, String> {
        let place = *self.places.entry(id).or_insert(self.planned.len());
        if place == self.planned.len() {
            let bytes = tree.storage(id).map_or(0, |storage| storage.bytes);
            self.planned.push(Planned { id, class: None, bytes });
            self.uses.push(Uses { places: open.to_vec(), ..Uses::default() });
        }
        self.uses.get_mut(place).ok_or_else(|| "its storage is missing".to_owned())
    }

    /// Chooses the class of each storage, when all uses are known.
    pub(super) fn settle(&mut self, tree: &Tree) -> Result<(), Refusal> {
        for (planned, uses) in self.planned.iter_mut().zip(&mut self.uses) {
            let refuse = |why: &str| Err(Refusal::at(uses.places.clone(), why));
            let own = tree.storage(planned.id).and_then(|storage| storage.dtype);
            let fits = |dtype: Dtype| {
                let size = dtype.bytes_for(1).filter(|size| *size > 0)?;
                (class_name(dtype).is_some() && planned.bytes % size == 0).then_some(dtype)
            };
            let common = match (uses.dtypes.as_slice(), uses.alone) {
                (_, true) => own,
                (&[dtype], false) => fits(dtype),
                _ => None,
            };
            if let Some(dtype) = common
                && (fits(dtype).is_none() || uses.dtypes.iter().any(|other| *other != dtype))
            {
                return refuse("a storage that is a value by itself has another type than its tensors");
            }
            if common.is_none() && uses.quantized {
                return refuse("it is quantized, and its storage is used with other types as well");
            }
            planned.class = common;
        }
        Ok(())
    }

    /// Finds a storage: its key, what it is written as, and how many bytes before the one asked for it
    /// begins.
    pub(super) fn find(&self, tree: &Tree, id: StorageId) -> Option<(usize, Planned, u64)> {
        let (root, start) = whole(tree, id).ok()?;
        let place = *self.places.get(&root)?;
        Some((place, *self.planned.get(place)?, start))
    }

    /// Returns the storages, each at the place of its key.
    pub(super) fn into_planned(self) -> Vec<Planned> {
        self.planned
    }
}

/// Finds the storage that a part belongs to, and where in it the part begins, in bytes.
fn whole(tree: &Tree, id: StorageId) -> Result<(StorageId, u64), String> {
    let (mut root, mut start) = (id, 0_u64);
    for _ in 0..=tree.storages().len() {
        let Some(storage) = tree.storage(root) else { return Err("its storage is missing".to_owned()) };
        let Some((outer, offset)) = storage.part_of else { return Ok((root, start)) };
        let end = offset.checked_add(storage.bytes);
        let limit = tree.storage(outer).map_or(0, |outer| outer.bytes);
        start = match (end, start.checked_add(offset)) {
            (Some(end), Some(start)) if end <= limit => start,
            _ => return Err("its storage reaches past the end of the one that it is a part of".to_owned()),
        };
        root = outer;
    }
    Err("its storage is a part of itself".to_owned())
}

/// Returns the name of the class that PyTorch has for storages of a type; none for the types since 2.3.
pub(super) fn class_name(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F64 => "torch.DoubleStorage",
        Dtype::F32 => "torch.FloatStorage",
        Dtype::F16 => "torch.HalfStorage",
        Dtype::Bf16 => "torch.BFloat16Storage",
        Dtype::I64 => "torch.LongStorage",
        Dtype::I32 => "torch.IntStorage",
        Dtype::I16 => "torch.ShortStorage",
        Dtype::I8 => "torch.CharStorage",
        Dtype::U8 => "torch.ByteStorage",
        Dtype::Bool => "torch.BoolStorage",
        Dtype::C128 => "torch.ComplexDoubleStorage",
        Dtype::C64 => "torch.ComplexFloatStorage",
        Dtype::QU8 => "torch.QUInt8Storage",
        Dtype::QI8 => "torch.QInt8Storage",
        Dtype::QI32 => "torch.QInt32Storage",
        Dtype::QU4x2 => "torch.QUInt4x2Storage",
        Dtype::QU2x4 => "torch.QUInt2x4Storage",
        _ => return None,
    })
}
