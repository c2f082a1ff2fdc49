//! What was asked of a disk, call by call, and what each call did.

use std::ffi::OsString;
use std::sync::Arc;

use super::image::{Bytes, Image};

/// The number of a file on a disk. A name may change its file, and a file its name.
pub(super) type FileId = usize;

/// A method of [`Disk`](ckpt::io::commit::Disk) or of [`DiskFile`](ckpt::io::commit::DiskFile).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Method {
    Resolve,
    Stat,
    Create,
    Read,
    Open,
    ReadBack,
    Rename,
    Remove,
    SyncDirectory,
    List,
    RemoveAbandoned,
    FreeBytes,
    Allocate,
    Write,
    SetLen,
    SetPermissions,
    Flush,
    Sync,
    Close,
}

/// A change of a file's bytes, which a loss of power may undo until the file is synced.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes at an offset.
    Write(u64, Arc<[u8]>),
    /// A new length.
    Length(u64),
}

/// A change of the directory, which a loss of power may undo until the directory is synced.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    /// A new file.
    Create(OsString, FileId),
    /// A file changes its name; what had that name is gone.
    Rename(OsString, OsString, FileId),
    /// A name is gone.
    Remove(OsString),
}

/// What a call did.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Nothing that a loss of power could undo.
    None,
    /// It changed a file.
    Changed(FileId, Change),
    /// It changed the directory.
    Named(NameChange),
    /// It made a file durable.
    Synced(FileId),
    /// It tried to: what wasn't durable before never will be, whatever a later sync says.
    FailedToSync(FileId),
    /// It made the directory durable.
    SyncedDirectory,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The method.
    pub(super) method: Method,
    /// The name of the file that it was about.
    pub(super) name: OsString,
    /// What it did.
    pub(super) effect: Effect,
}

/// All calls since a disk was made.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// What was there, all of it durable. The files have the first numbers, in the order of their names.
    pub(super) start: Image,
    /// The calls in their order.
    pub(super) calls: Vec<Call>,
}

impl Change {
    /// Does to the bytes of a file what was done.
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => write_at(bytes, *offset, data),
            Self::Length(len) => bytes.resize(to_usize(*len), 0),
        }
    }
}

/// Puts bytes in their place; what lies between the end and that place becomes zeros.
pub(super) fn write_at(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = to_usize(offset);
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// Lengths and offsets on a disk that is held in memory.
pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a fake file fits memory")
}

/// Returns a file's bytes without a copy where nobody else has them.
pub(super) fn into_bytes(bytes: Bytes) -> Vec<u8> {
    Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.to_vec())
}
