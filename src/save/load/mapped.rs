//! Loading lazily: the bytes stay in the file until they are looked at.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::checks::Checks;
use super::convert::{inflate, turn, turns};
use super::eager::{Reading, named};
use super::faults;
use super::structure::Place;
use crate::format::zip::Entry;
use crate::io::{FileSource, Mapping};
use crate::record::Finding;
use crate::tensor::{Data, Source, StorageId};
use crate::{Dtype, Error};

/// How much of a mapping is checked at once, in bytes: what a core's cache holds.
const CHECK_BYTES: usize = 1 << 20;

/// The file, open and mapped, for all of its storages.
#[derive(Debug)]
struct File {
    path: PathBuf,
    source: Arc<FileSource>,
    mapping: Mapping,
    verify: bool,
}

/// A storage that is made ready the first time that it is looked at.
#[derive(Debug)]
struct Lazy {
    file: Arc<File>,
    raw: Raw,
    len: u64,
    turn: Option<Dtype>,
    tensor: Option<String>,
    /// What came of it: bytes of its own, or none where those in the mapping are as they should be.
    ready: OnceLock<Result<Option<Vec<u8>>, Finding>>,
}

/// A storage that is no part of another, with its checksums: what its parts are checked with.
#[derive(Debug)]
struct Whole {
    range: Range<u64>,
    checks: Checks,
    /// What came of the check.
    found: OnceLock<Option<Finding>>,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Raw {
    Mapped(Range<u64>, Arc<Whole>),
    Deflated(Box<Entry>),
}

/// Makes the data of storages, in their order. Nothing of it is read yet.
pub(super) fn map(
    reading: &Reading<'_>,
    source: &Arc<FileSource>,
    wanted: &[StorageId],
) -> Result<Vec<Data<'static>>, Error> {
    let Reading { path, structure, names, options, .. } = *reading;
    let turns = turns(structure).map_err(|finding| Error::found(path, finding))?;
    let mapping = Mapping::new(source).map_err(|error| Error::io(path, "map it into memory", error))?;
    let file =
        Arc::new(File { path: path.to_owned(), source: Arc::clone(source), mapping, verify: options.verify });
    let wholes = wholes(reading, wanted);
    let of = structure.wholes();
    let data = |id: &StorageId| {
        let (raw, len) = match structure.place(*id) {
            Place::At(range, _) => {
                let whole = of.get(id.0 as usize).and_then(|whole| wholes.get(whole));
                let unchecked = || {
                    Arc::new(Whole {
                        range: range.clone(),
                        checks: Checks::default(),
                        found: OnceLock::new(),
                    })
                };
                (
                    Raw::Mapped(range.clone(), whole.map_or_else(unchecked, Arc::clone)),
                    range.end - range.start,
                )
            }
            Place::Deflated(entry) => (Raw::Deflated(entry.clone()), entry.size),
            Place::Nowhere => return Data::from(Vec::new()),
        };
        let (turn, tensor) = (turns.get(id).copied(), names.get(id).cloned());
        Data::new(Arc::new(Lazy { file: Arc::clone(&file), raw, len, turn, tensor, ready: OnceLock::new() }))
    };
    Ok(wanted.iter().map(data).collect())
}

/// Collects the storages that the wanted ones are, or are parts of, with their checksums.
fn wholes(reading: &Reading<'_>, wanted: &[StorageId]) -> HashMap<StorageId, Arc<Whole>> {
    let Reading { structure, names, options, .. } = *reading;
    if !options.verify {
        return HashMap::new();
    }
    let of = structure.wholes();
    let mut ids: Vec<_> = wanted.iter().filter_map(|id| of.get(id.0 as usize).copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let whole = |(id, checks)| match structure.place(id) {
        Place::At(range, _) => {
            Some((id, Arc::new(Whole { range: range.clone(), checks, found: OnceLock::new() })))
        }
        _ => None,
    };
    Checks::each(structure, names, &ids).into_iter().filter_map(whole).collect()
}

impl Whole {
    /// Holds the bytes against their checksums: once, whoever asks.
    fn check(&self, mapping: &Mapping) -> Result<(), Finding> {
        let found = self.found.get_or_init(|| {
            let Some(bytes) = mapping.get(&self.range) else { return Some(cut()) };
            mapping.will_need(&self.range);
            let offsets = (self.range.start..).step_by(CHECK_BYTES);
            offsets
                .zip(bytes.chunks(CHECK_BYTES))
                .for_each(|(offset, chunk)| self.checks.feed(offset, chunk));
            self.checks.finding()
        });
        found.clone().map_or(Ok(()), Err)
    }
}

/// The finding for bytes that the file no longer has.
fn cut() -> Finding {
    faults::finding(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
}

impl Lazy {
    /// Returns the bytes, checked.
    fn slice(&self) -> Result<&[u8], Error> {
        match self.ready.get_or_init(|| self.prepare()) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => self.mapped().map_err(|finding| self.error(&finding)),
            Err(finding) => Err(self.error(finding)),
        }
    }

    /// Checks the bytes, and makes others of them where that has to be.
    fn prepare(&self) -> Result<Option<Vec<u8>>, Finding> {
        let mut bytes = match &self.raw {
            Raw::Mapped(_, whole) => {
                let bytes = self.mapped()?;
                if self.file.verify {
                    whole.check(&self.file.mapping)?;
                }
                if self.turn.is_none() {
                    return Ok(None);
                }
                bytes.to_vec()
            }
            Raw::Deflated(entry) => {
                let bytes = inflate(&*self.file.source, entry, self.file.verify);
                bytes.map_err(|finding| named(finding, self.tensor.as_ref()))?
            }
        };
        turn(&mut bytes, self.turn.as_ref());
        Ok(Some(bytes))
    }

    /// Returns the bytes as they are in the file.
    fn mapped(&self) -> Result<&[u8], Finding> {
        let range = if let Raw::Mapped(range, _) = &self.raw { self.file.mapping.get(range) } else { None };
        range.ok_or_else(cut)
    }

    fn error(&self, finding: &Finding) -> Error {
        Error::found(&self.file.path, finding.clone())
    }
}

impl Source for Lazy {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        Data::from(self.slice()?).read_at(buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        self.slice().map(Some)
    }
}
