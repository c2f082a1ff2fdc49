//! Where in an area each storage goes.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::Error;
use crate::tensor::{Device, Source, State, Storage, StorageId};

/// What addresses and offsets in the file agree in: what a device and a page of memory are aligned to.
pub(super) const PAGE_BYTES: u64 = 4096;

/// What storages are aligned to whose place in the file isn't known: a line of the cache.
const LINE_BYTES: u64 = 64;

/// Where a state's storages go.
pub(super) struct Plan {
    /// The length of the area.
    pub(super) len: u64,
    /// The place of each storage, by its number.
    pub(super) ranges: Vec<Range<u64>>,
    /// Those that are copied, in the order of their places. The others lie inside of one of them.
    pub(super) order: Vec<StorageId>,
    /// The first accelerator that bytes lie on: the area is its memory.
    pub(super) device: Option<Arc<dyn Device>>,
}

impl Plan {
    /// Finds a place for each storage. First those whose place in the file is known, in the file's order and as
    /// far from one another as there; then the others.
    ///
    /// The training loop waits for this, and a state may have many thousand storages: it goes over them as
    /// seldom as it can, and asks for little memory, which the system would have to clear.
    ///
    /// # Errors
    ///
    /// The state is larger than any memory.
    pub(super) fn new(state: &State<'_>, places: &[(StorageId, u64)]) -> Result<Self, Error> {
        let all = state.all_data();
        // Until a storage is placed, this is how long it is.
        let ranges: Vec<_> = all.iter().map(|data| 0..data.len()).collect();
        let parts = parts_of(state, &ranges);
        let mut is_placed = vec![false; ranges.len()];
        for part in &parts {
            is_placed.get_mut(part.number).into_iter().for_each(|placed| *placed = true);
        }
        let order = Vec::with_capacity(ranges.len());
        let mut plan = Self { len: 0, ranges, order, device: all.iter().find_map(Source::device) };
        for &(id, offset) in places {
            plan.place(id, &mut is_placed, |end| end.checked_add(offset.wrapping_sub(end) % PAGE_BYTES))?;
        }
        plan.end_page()?;
        for id in (0..all.len()).map_while(|number| u32::try_from(number).ok()) {
            plan.place(StorageId(id), &mut is_placed, |end| end.checked_next_multiple_of(LINE_BYTES))?;
        }
        plan.end_page()?;
        plan.place_parts(&parts);
        Ok(plan)
    }

    /// Returns the place of a storage.
    pub(super) fn range(&self, id: StorageId) -> Range<u64> {
        self.ranges.get(id.0 as usize).cloned().unwrap_or_default()
    }

    /// Places a storage behind those that have a place, unless it has one.
    fn place(
        &mut self,
        id: StorageId,
        is_placed: &mut [bool],
        next: impl Fn(u64) -> Option<u64>,
    ) -> Result<(), Error> {
        let number = id.0 as usize;
        let (Some(range), Some(placed)) = (self.ranges.get_mut(number), is_placed.get_mut(number)) else {
            return Ok(());
        };
        let len = range.end;
        if std::mem::replace(placed, true) || len == 0 {
            return Ok(());
        }
        let start = next(self.len).ok_or_else(too_large)?;
        self.len = start.checked_add(len).ok_or_else(too_large)?;
        *range = start..self.len;
        self.order.push(id);
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), Error> {
        self.len = self.len.checked_next_multiple_of(PAGE_BYTES).ok_or_else(too_large)?;
        Ok(())
    }

    /// Gives parts of storages their place inside of those.
    fn place_parts(&mut self, parts: &[Part]) {
        for part in parts {
            let start = self.range(part.whole).start + part.offset;
            if let Some(range) = self.ranges.get_mut(part.number) {
                *range = start..start + range.end;
            }
        }
    }
}

/// A storage that is a part of another one.
struct Part {
    number: usize,
    whole: StorageId,
    /// Where in the other it begins.
    offset: u64,
}

/// Finds the storages that are parts of others. A part of a part is copied like any other.
fn parts_of(state: &State<'_>, lengths: &[Range<u64>]) -> Vec<Part> {
    let storages = state.tree().storages();
    let part = |(number, storage): (usize, &Storage)| {
        let (whole, offset) = storage.part_of?;
        let is_whole = storages.get(whole.0 as usize)?.part_of.is_none();
        let end = offset.checked_add(lengths.get(number)?.end)?;
        let is_inside = end <= lengths.get(whole.0 as usize)?.end;
        (is_whole && is_inside).then_some(Part { number, whole, offset })
    };
    storages.iter().enumerate().filter_map(part).collect()
}

pub(super) fn too_large() -> Error {
    Error::usage("a copy of the state doesn't fit into memory: save it without the background")
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({} storages in {} bytes)", self.order.len(), self.len)
    }
}
