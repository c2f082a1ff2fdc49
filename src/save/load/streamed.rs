//! Reading at each look: for who passes the bytes on, and must not hold more of them than a tensor has.
//!
//! What lies in the file as it is is read straight into the caller's buffer, and nothing of it is kept. What is
//! deflated or big-endian is made whole in memory, and dropped when the next two storages were asked for: the
//! writer's threads go through the file in order, so that one of them may still be at the end of a storage
//! when another is at the beginning of the next.
//!
//! Nothing is mapped: pages that were looked at would count as the process's memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::convert::{inflate, turn, turns};
use super::faults;
use super::structure::{Place, Structure};
use crate::format::zip::Entry;
use crate::io::{FileSource, ReadAt as _};
use crate::tensor::{Data, NodeId, Source, State, StorageId, Tree};
use crate::{Dtype, Error};

/// How many storages of a file are held in memory at once, of those that can't be read piece by piece: the one
/// that is being read, and the next, which another thread may have begun.
const HELD_STORAGES: usize = 2;

/// Makes the state of a structure that was read. None of its data is read yet.
pub(in crate::save) fn stream(
    path: &Path,
    source: &Arc<FileSource>,
    mut structure: Structure,
) -> Result<State<'static>, Error> {
    let mut turns = turns(&structure).map_err(|finding| Error::found(path, finding))?;
    let file =
        Arc::new(File { path: path.to_owned(), source: Arc::clone(source), held: Mutex::new(Vec::new()) });
    let data = (0_u32..).zip(structure.places.drain(..)).map(|(number, place)| {
        let id = StorageId(number);
        let len = match &place {
            Place::At(range, _) => range.end - range.start,
            Place::Deflated(entry) => entry.size,
            Place::Nowhere => return Data::from(Vec::new()),
        };
        Data::new(Arc::new(Stored { file: Arc::clone(&file), id, place, len, turn: turns.remove(&id) }))
    });
    let data = data.collect();
    let tree = std::mem::replace(&mut structure.tree, Tree::new(Vec::new(), Vec::new(), NodeId(0)));
    Ok(State::from_parts(tree, data))
}

/// A file that is open, for all of its storages.
struct File {
    path: PathBuf,
    source: Arc<FileSource>,
    /// The storages that are in memory now, the one last used at the end.
    held: Mutex<Vec<(StorageId, Arc<Vec<u8>>)>>,
}

impl File {
    /// Returns a storage's bytes: those that are held, or else what `make` makes. One at a time is made.
    fn hold(
        &self,
        id: StorageId,
        make: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Arc<Vec<u8>>, Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let there = held.iter().position(|(other, _)| *other == id);
        let (id, bytes) = if let Some(at) = there {
            held.remove(at)
        } else {
            // Dropped first, so that there are never more.
            let surplus = (held.len() + 1).saturating_sub(HELD_STORAGES);
            held.drain(..surplus);
            (id, Arc::new(make()?))
        };
        held.push((id, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

/// A storage in the file.
struct Stored {
    file: Arc<File>,
    id: StorageId,
    place: Place,
    len: u64,
    turn: Option<Dtype>,
}

impl Stored {
    /// Makes the bytes of a storage that can't be used as they lie in the file.
    fn whole(&self) -> Result<Arc<Vec<u8>>, Error> {
        self.file.hold(self.id, || {
            let mut bytes = match &self.place {
                Place::Deflated(entry) => self.inflate(entry)?,
                Place::At(range, _) => {
                    let too_large =
                        || Error::usage("a storage is larger than the memory").at(&self.file.path);
                    let length = usize::try_from(self.len).map_err(|_| too_large())?;
                    let mut bytes = Vec::new();
                    bytes.try_reserve_exact(length).map_err(|_| too_large())?;
                    bytes.resize(length, 0);
                    self.read(&mut bytes, range.start)?;
                    bytes
                }
                Place::Nowhere => Vec::new(),
            };
            turn(&mut bytes, self.turn.as_ref());
            Ok(bytes)
        })
    }

    /// Decompresses a record, and holds it against its checksum.
    fn inflate(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        inflate(&*self.file.source, entry, true).map_err(|finding| Error::found(&self.file.path, finding))
    }

    /// Reads bytes of the file.
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let read = self.file.source.read_exact_at(buffer, offset);
        read.map_err(|error| faults::io_error(&self.file.path, error))
    }
}

impl Source for Stored {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        match (&self.place, self.turn, end) {
            (Place::At(range, _), None, Some(_)) => self.read(buffer, range.start + offset),
            (_, _, Some(_)) => Data::from(self.whole()?.as_slice()).read_at(buffer, offset),
            (_, _, None) => {
                let wanted = buffer.len();
                Err(Error::usage(format!("{wanted} bytes from {offset} on were asked for, of {}", self.len)))
            }
        }
    }
}
