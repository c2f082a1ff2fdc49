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

/// Where the bytes come from.
#[derive(Debug)]
enum Raw {
    Mapped(Range<u64>, Checks),
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
    let mut checks = if options.verify { Checks::each(structure, names, wanted) } else { HashMap::new() };
    let data = |id: &StorageId| {
        let (raw, len) = match structure.place(*id) {
            Place::At(range, _) => {
                let checks = checks.remove(id).unwrap_or_default();
                (Raw::Mapped(range.clone(), checks), range.end - range.start)
            }
            Place::Deflated(entry) => (Raw::Deflated(entry.clone()), entry.size),
            Place::Nowhere => return Data::from(Vec::new()),
        };
        let (turn, tensor) = (turns.get(id).copied(), names.get(id).cloned());
        Data::new(Arc::new(Lazy { file: Arc::clone(&file), raw, len, turn, tensor, ready: OnceLock::new() }))
    };
    Ok(wanted.iter().map(data).collect())
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
            Raw::Mapped(range, checks) => {
                let bytes = self.mapped()?;
                if self.file.verify {
                    self.file.mapping.will_need(range);
                    let offsets = (range.start..).step_by(CHECK_BYTES);
                    offsets
                        .zip(bytes.chunks(CHECK_BYTES))
                        .for_each(|(offset, chunk)| checks.feed(offset, chunk));
                    checks.finding().map_or(Ok(()), Err)?;
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
        range.ok_or_else(|| faults::finding(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()))
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
