//! Loading into memory that the caller provides, storage by storage.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::convert::{turn, turns};
use super::eager::Reading;
use super::structure::Place;
use crate::Error;
use crate::io::FillTarget;
use crate::tensor::{Allocator, Data, Filled, HostMemory, Source, StorageId};

/// A storage with the memory that it was read into.
type Own = (StorageId, Box<dyn HostMemory>);

/// Reads storages whole, each into memory of its own, and checks them on the way. The answer has as many as were
/// wanted, in their order.
pub(super) fn read(
    reading: &Reading<'_>,
    wanted: &[StorageId],
    memory: &dyn Allocator,
) -> Result<Vec<Data<'static>>, Error> {
    let mut filled: HashMap<StorageId, Arc<Filled>> = HashMap::new();
    for (id, memory) in fill(reading, wanted, memory)? {
        filled.insert(id, Arc::new(Filled::new(memory)));
    }
    let parts = parts(reading, wanted);
    let data = |id: &StorageId| match (filled.get(id), parts.get(id)) {
        (Some(own), _) => Ok(Data::new(Arc::clone(own) as Arc<dyn Source>)),
        (None, Some((whole, range))) => match filled.get(whole) {
            Some(whole) => Data::part(Arc::clone(whole) as Arc<dyn Source>, range.clone()),
            None => single(reading, *id),
        },
        (None, None) => single(reading, *id),
    };
    wanted.iter().map(data).collect()
}

/// Fills memory for each wanted storage that lies in the file as it is, and for those that others are parts of.
fn fill(reading: &Reading<'_>, wanted: &[StorageId], memory: &dyn Allocator) -> Result<Vec<Own>, Error> {
    let structure = reading.structure;
    let wholes = structure.wholes();
    let mut ids: Vec<_> = wanted.iter().filter_map(|id| wholes.get(id.0 as usize).copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut filled = Vec::with_capacity(ids.len());
    for id in ids {
        if let Place::At(range, _) = structure.place(id) {
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            filled.push((id, range.start, allocate(memory, len).map_err(|error| error.at(reading.path))?));
        }
    }
    let read: Vec<_> = filled.iter().map(|(id, ..)| *id).collect();
    let targets = filled.iter_mut();
    let targets =
        targets.map(|(_, offset, memory)| FillTarget { offset: *offset, bytes: memory.bytes_mut() });
    let targets: Vec<_> = targets.filter(|target| !target.bytes.is_empty()).collect();
    reading.checked(&read, |scan, checks| {
        reading.source.read_into(targets, scan, &|at, bytes| checks.feed(at, bytes))
    })?;
    let turns = turns(structure).map_err(|finding| Error::found(reading.path, finding))?;
    for (id, _, memory) in &mut filled {
        turn(memory.bytes_mut(), turns.get(id));
    }
    Ok(filled.into_iter().map(|(id, _, memory)| (id, memory)).collect())
}

/// Asks for memory, and for as much as was asked for.
fn allocate(memory: &dyn Allocator, len: usize) -> Result<Box<dyn HostMemory>, Error> {
    let memory = memory.allocate(len)?;
    let given = memory.bytes().len();
    if given == len {
        return Ok(memory);
    }
    Err(Error::usage(format!("memory for {len} bytes was asked for, and {given} were given")))
}

/// Returns for each wanted storage that is a part of another which one that is, and which bytes of it.
fn parts(reading: &Reading<'_>, wanted: &[StorageId]) -> HashMap<StorageId, (StorageId, Range<u64>)> {
    let structure = reading.structure;
    let wholes = structure.wholes();
    let part = |id: &StorageId| {
        let whole = *wholes.get(id.0 as usize)?;
        let (Place::At(part, _), Place::At(all, _)) = (structure.place(*id), structure.place(whole)) else {
            return None;
        };
        let start = part.start.checked_sub(all.start)?;
        Some((*id, (whole, start..start.checked_add(part.end.checked_sub(part.start)?)?)))
    };
    wanted.iter().filter_map(part).collect()
}

/// Reads one that isn't in the file as it is: deflated, or without bytes.
fn single(reading: &Reading<'_>, id: StorageId) -> Result<Data<'static>, Error> {
    let mut data = reading.read(&[id])?;
    Ok(data.pop().unwrap_or_else(|| Data::from(Vec::new())))
}
