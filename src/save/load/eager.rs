//! Loading into memory.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::LoadOptions;
use super::checks::Checks;
use super::convert::{inflate, turn, turns};
use super::faults;
use super::structure::{Place, Structure};
use crate::Error;
use crate::format::zip::Entry;
use crate::io::{Arena, Cancel, FileSource, ScanOptions};
use crate::record::Finding;
use crate::tensor::{Data, Source, StorageId};

/// A part of an arena.
#[derive(Debug)]
struct Part {
    arena: Arc<Arena>,
    range: Range<u64>,
}

impl Source for Part {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        Data::from(self.slice()).read_at(buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        Ok(Some(self.slice()))
    }
}

impl Part {
    fn slice(&self) -> &[u8] {
        self.arena.get(&self.range).unwrap_or_default()
    }
}

/// A checkpoint on its way in.
pub(super) struct Reading<'r> {
    pub(super) path: &'r Path,
    pub(super) source: &'r FileSource,
    pub(super) structure: &'r Structure,
    /// A tensor's name for each storage.
    pub(super) names: &'r HashMap<StorageId, String>,
    pub(super) options: &'r LoadOptions,
}

impl Reading<'_> {
    /// Reads storages whole, and checks them on the way. The answer has as many as were wanted, in their
    /// order.
    pub(super) fn read(&self, wanted: &[StorageId]) -> Result<Vec<Data<'static>>, Error> {
        let turns = turns(self.structure).map_err(|finding| Error::found(self.path, finding))?;
        let range = |id: &StorageId| match self.structure.place(*id) {
            Place::At(range, _) => Some(range.clone()),
            _ => None,
        };
        let read = self.with_wholes(wanted);
        let ranges: Vec<_> = read.iter().filter_map(range).collect();
        let mut arena = self.checked(&read, |scan, checks| {
            self.source.read_arena(&ranges, scan, &|at, bytes| checks.feed(at, bytes))
        })?;
        for id in wanted {
            if let Some(bytes) = range(id).and_then(|range| arena.get_mut(&range)) {
                turn(bytes, turns.get(id));
            }
        }
        let arena = Arc::new(arena);
        let data = |id: &StorageId| match self.structure.place(*id) {
            Place::At(range, _) => {
                Ok(Data::new(Arc::new(Part { arena: Arc::clone(&arena), range: range.clone() })))
            }
            Place::Deflated(entry) => {
                let mut bytes = self.inflate(entry, *id)?;
                turn(&mut bytes, turns.get(id));
                Ok(Data::from(bytes))
            }
            Place::Nowhere => Ok(Data::from(Vec::new())),
        };
        wanted.iter().map(data).collect()
    }

    /// Holds storages against their checksums, and keeps nothing of them.
    pub(super) fn check(&self, wanted: &[StorageId]) -> Result<(), Error> {
        let read = self.with_wholes(wanted);
        let mut ranges = Vec::new();
        for id in &read {
            match self.structure.place(*id) {
                Place::At(range, _) => ranges.push(range.clone()),
                Place::Deflated(entry) => drop(self.inflate(entry, *id)?),
                Place::Nowhere => {}
            }
        }
        self.checked(&read, |scan, checks| {
            self.source.read_past(&ranges, scan, &|at, bytes| checks.feed(at, bytes))
        })
    }

    /// Adds what the wanted storages are parts of, where only that can be held against a proof.
    fn with_wholes(&self, wanted: &[StorageId]) -> Vec<StorageId> {
        let mut read = wanted.to_vec();
        if self.structure.proof.is_some() {
            let wholes = self.structure.wholes();
            read.extend(wanted.iter().filter_map(|id| wholes.get(id.0 as usize)));
            read.sort_unstable();
            read.dedup();
        }
        read
    }

    /// Reads, and holds what was read of the wanted storages against their checksums.
    pub(super) fn checked<T>(
        &self,
        wanted: &[StorageId],
        read: impl FnOnce(&ScanOptions<'_>, &Checks) -> io::Result<T>,
    ) -> Result<T, Error> {
        let checked = wanted.iter().copied().filter(|_| self.options.verify);
        let checks = Checks::new(self.structure, self.names, checked);
        let progress = |bytes| {
            if let Some(progress) = &self.options.progress {
                progress.add(bytes);
            }
        };
        let mut scan = ScanOptions::default().with_threads(self.options.threads).with_progress(&progress);
        scan.cancel = self.options.cancel.as_ref();
        let result = read(&scan, &checks).map_err(|error| faults::io_error(self.path, error))?;
        match checks.finding() {
            None => Ok(result),
            Some(finding) => Err(Error::found(self.path, finding)),
        }
    }

    fn inflate(&self, entry: &Entry, id: StorageId) -> Result<Vec<u8>, Error> {
        let cancelled = self.options.cancel.as_ref().map_or(Ok(()), Cancel::check);
        cancelled.map_err(|error| faults::io_error(self.path, error))?;
        let bytes = inflate(self.source, entry, self.options.verify);
        bytes.map_err(|finding| Error::found(self.path, named(finding, self.names.get(&id))))
    }
}

/// Adds the tensor to a finding.
pub(super) fn named(finding: Finding, tensor: Option<&String>) -> Finding {
    match tensor {
        Some(tensor) => finding.at_tensor(tensor),
        None => finding,
    }
}
