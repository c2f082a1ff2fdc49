//! A disk in memory.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckpt::io::ScanSource;
use ckpt::io::commit::{Disk, DiskFile, DiskLock, Existing, Locked, Stat};

use super::fault::{Done, Fault};
use super::file::{FakeFile, FakeReader};
use super::image::{Bytes, Image};
use super::journal::{Call, Effect, FileId, Journal, Method, NameChange, into_bytes};
use super::names::{Directories, Entry, Names, ROOT, numbered, paths, within};

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
    directories: Directories,
    pub(super) files: Vec<LiveFile>,
    pub(super) way: Way,
    journal: Journal,
    faults: Vec<Fault>,
    /// How many files are open, for reading or for writing.
    pub(super) open: usize,
    free: u64,
    /// Whether two names can change places.
    swaps: bool,
}

impl FakeDisk {
    /// The directory that is always there.
    pub(super) const DIRECTORY: &str = "/fake/run";

    /// Makes a disk that holds an image, all of it durable.
    pub(super) fn new(start: Image, way: Way) -> Self {
        let (names, directories) = numbered(&start);
        let files = start.files().map(|(_, bytes)| LiveFile::new(Bytes::clone(bytes))).collect();
        let journal = Journal { start, calls: Vec::new() };
        let faults = Vec::new();
        let (free, swaps) = (1 << 40, true);
        let state = State { names, directories, files, way, journal, faults, open: 0, free, swaps };
        let disk = Self(Arc::new(Mutex::new(state)));
        disk.mark_directories();
        disk
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

    /// Has no two names change places, as many network file systems.
    pub(super) fn without_swaps(self) -> Self {
        self.state().swaps = false;
        self
    }

    /// Says of what the image holds which of it is a directory.
    fn mark_directories(&self) {
        let mut state = self.state();
        for file in state.directories.clone() {
            state.files[file].stat = DIRECTORY_STAT;
        }
    }

    /// Returns the path of a name.
    pub(super) fn path(name: impl AsRef<Path>) -> PathBuf {
        Path::new(Self::DIRECTORY).join(name)
    }

    /// Returns what running processes see.
    pub(super) fn live(&self) -> Image {
        let state = self.state();
        let paths = paths(&state.names, &state.directories).into_iter();
        paths.map(|(path, file)| (path, Bytes::clone(&state.files[file].bytes))).collect()
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

    /// Returns the place of a path, whose directory must be there, and what the journal calls it.
    fn place(&self, path: &Path) -> io::Result<(Entry, OsString)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let directory = self.directory(parent)?;
        Ok((Entry { directory, name: name.to_owned() }, label(path)))
    }

    /// Returns the number of a directory.
    fn directory(&self, path: &Path) -> io::Result<FileId> {
        let inside = path.strip_prefix(Self::DIRECTORY).map_err(|_| io::ErrorKind::NotFound)?;
        let state = self.state();
        inside.iter().try_fold(ROOT, |directory, name| {
            let file = state.find(&Entry { directory, name: name.to_owned() })?;
            if state.directories.contains(&file) {
                Ok(file)
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        })
    }
}

/// Returns what the journal calls a path: relative to the directory that is always there.
fn label(path: &Path) -> OsString {
    let inside = path.strip_prefix(FakeDisk::DIRECTORY).unwrap_or(path);
    if inside.as_os_str().is_empty() { OsString::from(".") } else { inside.into() }
}

/// What is known of a directory.
const DIRECTORY_STAT: Stat =
    Stat { len: 0, is_file: false, is_directory: true, mode: 0o755, owner: Some((1000, 1000)) };

impl LiveFile {
    fn new(bytes: Bytes) -> Self {
        let stat = Stat {
            len: bytes.len() as u64,
            is_file: true,
            is_directory: false,
            mode: 0o644,
            ..DIRECTORY_STAT
        };
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

    fn find(&self, entry: &Entry) -> io::Result<FileId> {
        self.names.get(entry).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Finds what is a file.
    fn find_file(&self, entry: &Entry) -> io::Result<FileId> {
        let file = self.find(entry)?;
        if self.directories.contains(&file) { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    }

    /// Makes a new file, and returns its number.
    fn add(&mut self, file: LiveFile) -> FileId {
        self.files.push(file);
        self.files.len() - 1
    }

    /// Changes a directory.
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
        if path != Path::new(Self::DIRECTORY) {
            self.place(path)?;
        }
        self.call(Method::Resolve, &label(path), |_| Ok((path.to_owned(), Effect::None)))
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        if path == Path::new(Self::DIRECTORY) {
            return self.call(Method::Stat, &label(path), |_| Ok((Some(DIRECTORY_STAT), Effect::None)));
        }
        let (entry, label) = match self.place(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            place => place?,
        };
        self.call(Method::Stat, &label, |state| {
            let stat = state.names.get(&entry).map(|file| state.files[*file].stat);
            Ok((stat, Effect::None))
        })
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let (entry, label) = self.place(path)?;
        let file = self.call(Method::Create, &label, |state| {
            if state.names.contains_key(&entry) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let mut live = LiveFile::new(Bytes::default());
            live.stat.mode = mode & !0o022;
            live.locked = true;
            state.open += 1;
            let file = state.add(live);
            Ok((file, state.rename_by(NameChange::Create(entry, file))))
        })?;
        Ok(Box::new(FakeFile::new(self.clone(), file, label)))
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let (entry, label) = self.place(path)?;
        self.call(Method::Read, &label, |state| {
            let bytes = &state.files[state.find_file(&entry)?].bytes;
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
            Ok((bytes[..most].to_vec(), Effect::None))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ScanSource>> {
        let (entry, label) = self.place(path)?;
        let bytes = self.call(Method::Open, &label, |state| {
            let bytes = Bytes::clone(&state.files[state.find_file(&entry)?].bytes);
            state.open += 1;
            Ok((bytes, Effect::None))
        })?;
        Ok(Box::new(FakeReader::new(self.clone(), label, bytes)))
    }

    fn rename(&self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
        let ((from, _), (to, label)) = (self.place(from)?, self.place(to)?);
        self.call(Method::Rename, &label, |state| {
            let file = state.find(&from)?;
            if existing == Existing::Swap {
                if !state.swaps {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                let other = state.find(&to)?;
                return Ok(((), state.rename_by(NameChange::Swap((from, file), (to, other)))));
            }
            if existing == Existing::Keep && state.names.contains_key(&to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(((), state.rename_by(NameChange::Rename(from, to, file))))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (entry, label) = self.place(path)?;
        self.call(Method::Remove, &label, |state| {
            state.find_file(&entry)?;
            Ok(((), state.rename_by(NameChange::Remove(entry))))
        })
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let (entry, label) = self.place(path)?;
        self.call(Method::Sync, &label, |state| Ok(((), Effect::Synced(state.find_file(&entry)?))))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let file = self.directory(directory)?;
        self.call(Method::SyncDirectory, &label(directory), |_| Ok(((), Effect::SyncedDirectory(file))))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let file = self.directory(directory)?;
        self.call(Method::List, &label(directory), |state| {
            Ok((within(&state.names, file).map(|(name, _)| name.to_owned()).collect(), Effect::None))
        })
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<bool> {
        let (entry, label) = self.place(path)?;
        self.call(Method::RemoveAbandoned, &label, |state| {
            let file = state.find(&entry)?;
            if state.directories.contains(&file) || state.files[file].locked {
                return Ok((false, Effect::None));
            }
            Ok((true, state.rename_by(NameChange::Remove(entry))))
        })
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let (entry, label) = self.place(path)?;
        self.call(Method::CreateDirectory, &label, |state| {
            if state.names.contains_key(&entry) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = state.add(LiveFile { stat: DIRECTORY_STAT, ..LiveFile::new(Bytes::default()) });
            state.directories.insert(file);
            Ok(((), state.rename_by(NameChange::CreateDirectory(entry, file))))
        })
    }

    /// Removes one name after the other, as the system does it.
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        let (entry, label) = self.place(path)?;
        for name in self.list(path)? {
            let path = path.join(name);
            if self.directory(&path).is_ok() { self.remove_tree(&path)? } else { self.remove(&path)? }
        }
        self.call(Method::RemoveDirectory, &label, |state| {
            Ok(((), state.rename_by(NameChange::Remove(entry))))
        })
    }

    fn remove_abandoned_tree(&self, path: &Path, is_sure: bool) -> io::Result<bool> {
        self.call(Method::RemoveAbandonedTree, &label(path), |_| Ok(((), Effect::None)))?;
        if is_sure && self.directory(path).is_ok() {
            self.remove_tree(path).map(|()| true)
        } else {
            Ok(false)
        }
    }

    fn lock(&self, path: &Path, _holder: &str) -> io::Result<Locked> {
        let (entry, label) = self.place(path)?;
        let file = self.call(Method::Lock, &label, |state| {
            let there = state.find_file(&entry).ok();
            let (file, effect) = if let Some(file) = there {
                (file, Effect::None)
            } else {
                let file = state.add(LiveFile::new(Bytes::default()));
                (file, state.rename_by(NameChange::Create(entry, file)))
            };
            let is_free = !std::mem::replace(&mut state.files[file].locked, true);
            state.open += usize::from(is_free);
            Ok((is_free.then_some(file), effect))
        })?;
        Ok(match file {
            Some(file) => Locked::Ours(Box::new(FakeLock { disk: self.clone(), file })),
            None => Locked::Others("the other one".to_owned()),
        })
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.call(Method::FreeBytes, &label(directory), |state| Ok((state.free, Effect::None)))
    }
}

/// The lock of a file, which the end of the process frees.
#[derive(Debug)]
struct FakeLock {
    disk: FakeDisk,
    file: FileId,
}

impl DiskLock for FakeLock {
    fn is_sure(&self) -> bool {
        true
    }
}

impl Drop for FakeLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        state.files[self.file].locked = false;
        state.open -= 1;
    }
}

impl fmt::Debug for FakeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeDisk").field(&self.live().names()).finish()
    }
}
