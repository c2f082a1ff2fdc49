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
    let range = |id: StorageId| match structure.place(id) {
        Place::At(range, _) => Some((id, range.clone())),
        _ => None,
    };
    let ranges: Vec<_> = ids.into_iter().filter_map(range).collect();
    let length = |(_, range): &(StorageId, Range<u64>)| usize::try_from(range.end - range.start);
    let lengths: Vec<_> = ranges.iter().map(|own| length(own).unwrap_or(usize::MAX)).collect();
    let memory = allocate(memory, &lengths).map_err(|error| error.at(reading.path))?;
    let filled = ranges.into_iter().zip(memory).map(|((id, range), memory)| (id, range.start, memory));
    let mut filled: Vec<_> = filled.collect();
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

/// Asks for memory, and refuses other than was asked for.
fn allocate(memory: &dyn Allocator, lengths: &[usize]) -> Result<Vec<Box<dyn HostMemory>>, Error> {
    if lengths.is_empty() {
        return Ok(Vec::new());
    }
    let memory = memory.allocate_all(lengths)?;
    let (wanted, given) = (lengths.len(), memory.len());
    if wanted != given {
        return Err(Error::usage(format!(
            "{wanted} pieces of memory were asked for, and {given} were given"
        )));
    }
    let given = memory.iter().map(|memory| memory.bytes().len());
    match given.zip(lengths).find(|(given, wanted)| given != *wanted) {
        None => Ok(memory),
        Some((given, wanted)) => {
            Err(Error::usage(format!("memory for {wanted} bytes was asked for, and {given} were given")))
        }
    }
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
