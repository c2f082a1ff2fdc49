//! Where in an area each storage goes.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::Error;
use crate::tensor::{Device, Source, State, StorageId};

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
    /// The numbers of those that are copied, in the order of their places. The others lie inside of one of
    /// them.
    pub(super) order: Vec<usize>,
    /// The first accelerator that bytes lie on: the area is its memory.
    pub(super) device: Option<Arc<dyn Device>>,
}

impl Plan {
    /// Finds a place for each storage. First those whose place in the file is known, in the file's order and as
    /// far from one another as there; then the others.
    ///
    /// # Errors
    ///
    /// The state is larger than any memory.
    pub(super) fn new(state: &State<'_>, places: &[(StorageId, u64)]) -> Result<Self, Error> {
        let all = (0..).map_while(|number| state.data(StorageId(number)));
        let lengths: Vec<u64> = all.map(Source::len).collect();
        let device = (0..).map_while(|number| state.data(StorageId(number))).find_map(Source::device);
        let parts: Vec<Option<(usize, u64)>> =
            (0..lengths.len()).map(|number| part_of(state, &lengths, number)).collect();
        let mut plan = Self { len: 0, ranges: vec![0..0; lengths.len()], order: Vec::new(), device };
        let mut is_placed: Vec<bool> = parts.iter().map(Option::is_some).collect();
        for &(id, offset) in places {
            plan.place(id.0 as usize, &lengths, &mut is_placed, |end| {
                end.checked_add(offset.wrapping_sub(end) % PAGE_BYTES)
            })?;
        }
        plan.len = plan.len.checked_next_multiple_of(PAGE_BYTES).ok_or_else(too_large)?;
        for number in 0..lengths.len() {
            let next = |end: u64| end.checked_next_multiple_of(LINE_BYTES);
            plan.place(number, &lengths, &mut is_placed, next)?;
        }
        plan.len = plan.len.checked_next_multiple_of(PAGE_BYTES).ok_or_else(too_large)?;
        plan.place_parts(&parts, &lengths);
        Ok(plan)
    }

    /// Places a storage behind those that have a place, unless it has one.
    fn place(
        &mut self,
        number: usize,
        lengths: &[u64],
        is_placed: &mut [bool],
        next: impl Fn(u64) -> Option<u64>,
    ) -> Result<(), Error> {
        let (Some(&len), Some(placed)) = (lengths.get(number), is_placed.get_mut(number)) else {
            return Ok(());
        };
        if std::mem::replace(placed, true) || len == 0 {
            return Ok(());
        }
        let start = next(self.len).ok_or_else(too_large)?;
        self.len = start.checked_add(len).ok_or_else(too_large)?;
        if let Some(range) = self.ranges.get_mut(number) {
            *range = start..self.len;
        }
        self.order.push(number);
        Ok(())
    }

    /// Gives parts of storages their place inside of those.
    fn place_parts(&mut self, parts: &[Option<(usize, u64)>], lengths: &[u64]) {
        for (number, (part, len)) in parts.iter().zip(lengths).enumerate() {
            let Some((whole, offset)) = part else { continue };
            let start = self.ranges.get(*whole).map_or(0, |whole| whole.start + offset);
            if let Some(range) = self.ranges.get_mut(number) {
                *range = start..start + len;
            }
        }
    }
}

/// Returns of which storage, and from where on, another is a part. A part of a part is copied like any other.
fn part_of(state: &State<'_>, lengths: &[u64], number: usize) -> Option<(usize, u64)> {
    let storages = state.tree().storages();
    let (whole, offset) = storages.get(number)?.part_of?;
    let whole = whole.0 as usize;
    let is_whole = storages.get(whole)?.part_of.is_none();
    let end = offset.checked_add(*lengths.get(number)?)?;
    (is_whole && end <= *lengths.get(whole)?).then_some((whole, offset))
}

pub(super) fn too_large() -> Error {
    Error::usage("a copy of the state doesn't fit into memory: save it without the background")
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({} storages in {} bytes)", self.order.len(), self.len)
    }
}
