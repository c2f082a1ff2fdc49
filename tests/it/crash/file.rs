//! The files of a fake disk, open for writing or for reading.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use ckpt::digest::Crc32;
use ckpt::io::commit::{DiskFile, Stat};
use ckpt::io::{ReadAt, ScanOptions, ScanSource};

use super::disk::{FakeDisk, Way};
use super::fault::Done;
use super::image::Bytes;
use super::journal::{Change, Effect, FileId, Method};

/// A file that is open for writing, and locked.
#[derive(Debug)]
pub(super) struct FakeFile {
    disk: FakeDisk,
    file: FileId,
    /// What it was created as.
    name: OsString,
}

impl FakeFile {
    pub(super) fn new(disk: FakeDisk, file: FileId, name: OsString) -> Self {
        Self { disk, file, name }
    }

    /// Changes the bytes, in one call.
    fn change(&self, method: Method, change: Change) -> io::Result<()> {
        self.disk.call(method, &self.name, |state| {
            state.files[self.file].change(|bytes| change.apply(bytes));
            Ok(((), Effect::Changed(self.file, change)))
        })
    }
}

impl DiskFile for FakeFile {
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.call(Method::Allocate, &self.name, |state| {
            state.free_for(len)?;
            Ok(((), Effect::None))
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.fault();
        let written = match fault.map(|fault| fault.done) {
            Some(Done::Nothing) => &bytes[..0],
            Some(Done::Half) => &bytes[..bytes.len() / 2],
            Some(Done::All | Done::Flipped) | None => bytes,
        };
        let mut data: Arc<[u8]> = written.into();
        let flipped = fault.is_some_and(|fault| fault.done == Done::Flipped);
        if let (true, Some(byte)) = (flipped, Arc::make_mut(&mut data).get_mut(bytes.len() / 2)) {
            *byte ^= 1;
        }
        let change = Change::Write(offset, data);
        if !written.is_empty() {
            state.files[self.file].change(|bytes| change.apply(bytes));
        }
        let effect = if written.is_empty() { Effect::None } else { Effect::Changed(self.file, change) };
        state.note(Method::Write, &self.name, effect);
        if let Way::Pretended(_) = state.way {
            state.way = Way::Buffered;
        }
        fault.filter(|_| !flipped).map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn alignment(&self) -> Option<usize> {
        match self.disk.state().way {
            Way::Buffered => None,
            Way::Direct(bytes) | Way::Pretended(bytes) => Some(bytes),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Method::SetLen, Change::Length(len))
    }

    fn set_permissions(&self, like: &Stat) -> io::Result<()> {
        self.disk.call(Method::SetPermissions, &self.name, |state| {
            let stat = &mut state.files[self.file].stat;
            (stat.mode, stat.owner) = (like.mode, like.owner);
            Ok(((), Effect::None))
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.call(Method::Flush, &self.name, |_| Ok(((), Effect::None)))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Some(fault) = state.fault() {
            state.note(Method::Sync, &self.name, Effect::FailedToSync(self.file));
            return Err(fault.error());
        }
        state.note(Method::Sync, &self.name, Effect::Synced(self.file));
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        // The file is closed when `self` is dropped, whatever is answered here.
        self.disk.call(Method::Close, &self.name, |_| Ok(((), Effect::None)))
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        state.files[self.file].locked = false;
        state.open -= 1;
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub(super) struct FakeReader {
    disk: FakeDisk,
    name: OsString,
    bytes: Bytes,
}

impl FakeReader {
    pub(super) fn new(disk: FakeDisk, name: OsString, bytes: Bytes) -> Self {
        Self { disk, name, bytes }
    }
}

impl ReadAt for FakeReader {
    fn len(&self) -> u64 {
        ReadAt::len(&*self.bytes)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.call(Method::ReadBack, &self.name, |_| {
            Ok((self.bytes.read_exact_at(buffer, offset)?, Effect::None))
        })
    }
}

impl ScanSource for FakeReader {
    fn checksum(&self, ranges: &[Range<u64>], options: &ScanOptions<'_>) -> io::Result<Vec<Crc32>> {
        self.disk
            .call(Method::ReadBack, &self.name, |_| Ok((self.bytes.checksum(ranges, options)?, Effect::None)))
    }
}

impl Drop for FakeReader {
    fn drop(&mut self) {
        self.disk.state().open -= 1;
    }
}
