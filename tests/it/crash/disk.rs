//! A disk in memory, with one directory.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckpt::io::ScanSource;
use ckpt::io::commit::{Disk, DiskFile, Existing, Stat};

use super::fault::{Done, Fault};
use super::file::{FakeFile, FakeReader};
use super::image::{Bytes, Image};
use super::journal::{Call, Effect, FileId, Journal, Method, NameChange, into_bytes};
use super::names::Names;

/// Where writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the page cache.
    Buffered,
    /// Straight to the device, which asks for this alignment.
    Direct(usize),
    /// The system says that they go to the device, until the first write shows that they don't.
    Pretended(usize),
}

/// A disk that is held in memory, counts its calls, and fails those that it is told to.
#[derive(Clone)]
pub(super) struct FakeDisk(Arc<Mutex<State>>);

/// One file as running processes see it.
pub(super) struct LiveFile {
    pub(super) bytes: Bytes,
    pub(super) stat: Stat,
    /// Whether the process that made it has it open.
    pub(super) locked: bool,
}

/// What running processes see, and what they asked for.
pub(super) struct State {
    pub(super) names: Names,
    pub(super) files: Vec<LiveFile>,
    pub(super) way: Way,
    journal: Journal,
    faults: Vec<Fault>,
    /// How many files are open, for reading or for writing.
    pub(super) open: usize,
    free: u64,
}

impl FakeDisk {
    /// The one directory.
    pub(super) const DIRECTORY: &str = "/fake/run";

    /// Makes a disk that holds an image, all of it durable.
    pub(super) fn new(start: Image, way: Way) -> Self {
        let names = start.files().enumerate().map(|(file, (name, _))| (name.clone(), file)).collect();
        let files = start.files().map(|(_, bytes)| LiveFile::new(Bytes::clone(bytes))).collect();
        let journal = Journal { start, calls: Vec::new() };
        let state = State { names, files, way, journal, faults: Vec::new(), open: 0, free: 1 << 40 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Makes one call go wrong.
    pub(super) fn failing(self, fault: Fault) -> Self {
        self.state().faults.push(fault);
        self
    }

    /// Sets how many bytes are free, which is as much as can be reserved.
    pub(super) fn with_free(self, bytes: u64) -> Self {
        self.state().free = bytes;
        self
    }

    /// Returns the path of a name.
    pub(super) fn path(name: impl AsRef<Path>) -> PathBuf {
        Path::new(Self::DIRECTORY).join(name)
    }

    /// Returns what running processes see.
    pub(super) fn live(&self) -> Image {
        let state = self.state();
        state
            .names
            .iter()
            .map(|(name, file)| (name.clone(), Bytes::clone(&state.files[*file].bytes)))
            .collect()
    }

    /// Returns all calls so far.
    pub(super) fn journal(&self) -> Journal {
        self.state().journal.clone()
    }

    /// Returns how many files are open.
    pub(super) fn open_files(&self) -> usize {
        self.state().open
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call: notes it, and fails it where it is to fail.
    pub(super) fn call<T>(
        &self,
        method: Method,
        name: &OsStr,
        act: impl FnOnce(&mut State) -> io::Result<(T, Effect)>,
    ) -> io::Result<T> {
        let mut state = self.state();
        let fault = state.fault();
        if let Some(fault) = fault
            && matches!(fault.done, Done::Nothing | Done::Half)
        {
            state.note(method, name, Effect::None);
            return Err(fault.error());
        }
        match act(&mut state) {
            Ok((value, effect)) => {
                state.note(method, name, effect);
                match fault {
                    Some(fault) if fault.done == Done::All => Err(fault.error()),
                    _ => Ok(value),
                }
            }
            Err(error) => {
                state.note(method, name, Effect::None);
                Err(error)
            }
        }
    }

    /// Returns the name of a path that must be in the directory.
    fn name(path: &Path) -> io::Result<&OsStr> {
        if path.parent() != Some(Path::new(Self::DIRECTORY)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        path.file_name().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl LiveFile {
    fn new(bytes: Bytes) -> Self {
        let stat = Stat { len: bytes.len() as u64, is_file: true, mode: 0o644, owner: Some((1000, 1000)) };
        Self { bytes, stat, locked: false }
    }

    /// Changes the bytes.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = into_bytes(std::mem::take(&mut self.bytes));
        change(&mut bytes);
        self.stat.len = bytes.len() as u64;
        self.bytes = Arc::new(bytes);
    }
}

impl State {
    /// Returns what is to go wrong in the call that comes next.
    pub(super) fn fault(&self) -> Option<Fault> {
        let call = self.journal.calls.len();
        self.faults.iter().find(|fault| fault.call == call).copied()
    }

    /// Notes a call.
    pub(super) fn note(&mut self, method: Method, name: &OsStr, effect: Effect) {
        self.journal.calls.push(Call { method, name: name.to_owned(), effect });
    }

    fn find(&self, name: &OsStr) -> io::Result<FileId> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Changes the directory.
    fn rename_by(&mut self, change: NameChange) -> Effect {
        change.apply(&mut self.names);
        Effect::Named(change)
    }

    pub(super) fn free_for(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.free { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for FakeDisk {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let name = Self::name(path)?;
        self.call(Method::Resolve, name, |_| Ok((path.to_owned(), Effect::None)))
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let name = Self::name(path)?;
        self.call(Method::Stat, name, |state| {
            let stat = state.names.get(name).map(|file| state.files[*file].stat);
            Ok((stat, Effect::None))
        })
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let name = Self::name(path)?;
        let file = self.call(Method::Create, name, |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let mut live = LiveFile::new(Bytes::default());
            live.stat.mode = mode & !0o022;
            live.locked = true;
            state.files.push(live);
            state.open += 1;
            let file = state.files.len() - 1;
            Ok((file, state.rename_by(NameChange::Create(name.to_owned(), file))))
        })?;
        Ok(Box::new(FakeFile::new(self.clone(), file, name.to_owned())))
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let name = Self::name(path)?;
        self.call(Method::Read, name, |state| {
            let bytes = &state.files[state.find(name)?].bytes;
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
            Ok((bytes[..most].to_vec(), Effect::None))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ScanSource>> {
        let name = Self::name(path)?;
        let bytes = self.call(Method::Open, name, |state| {
            let bytes = Bytes::clone(&state.files[state.find(name)?].bytes);
            state.open += 1;
            Ok((bytes, Effect::None))
        })?;
        Ok(Box::new(FakeReader::new(self.clone(), name.to_owned(), bytes)))
    }

    fn rename(&self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
        let (from, to) = (Self::name(from)?, Self::name(to)?);
        self.call(Method::Rename, to, |state| {
            let file = state.find(from)?;
            if existing == Existing::Keep && state.names.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(((), state.rename_by(NameChange::Rename(from.to_owned(), to.to_owned(), file))))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let name = Self::name(path)?;
        self.call(Method::Remove, name, |state| {
            state.find(name)?;
            Ok(((), state.rename_by(NameChange::Remove(name.to_owned()))))
        })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        if directory != Path::new(Self::DIRECTORY) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.call(Method::SyncDirectory, OsStr::new("."), |_| Ok(((), Effect::SyncedDirectory)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        if directory != Path::new(Self::DIRECTORY) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.call(Method::List, OsStr::new("."), |state| {
            Ok((state.names.keys().cloned().collect(), Effect::None))
        })
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<bool> {
        let name = Self::name(path)?;
        self.call(Method::RemoveAbandoned, name, |state| {
            if state.files[state.find(name)?].locked {
                return Ok((false, Effect::None));
            }
            Ok((true, state.rename_by(NameChange::Remove(name.to_owned()))))
        })
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        self.call(Method::FreeBytes, OsStr::new("."), |state| Ok((state.free, Effect::None)))
    }
}

impl fmt::Debug for FakeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeDisk").field(&self.live().names()).finish()
    }
}
