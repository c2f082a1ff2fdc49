//! What was asked of a disk, call by call, and what each call did.

use std::ffi::OsString;
use std::sync::Arc;

use super::image::{Bytes, Image};
use super::names::Entry;

/// The number of a file or a directory on a disk. A name may change its file, and a file its name.
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
    CreateDirectory,
    RemoveDirectory,
    RemoveAbandonedTree,
    Lock,
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

/// A change of a directory, which a loss of power may undo until the directory is synced.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    /// A new file.
    Create(Entry, FileId),
    /// A new directory.
    CreateDirectory(Entry, FileId),
    /// A file or a directory changes its name, or its directory; what had that name is gone.
    Rename(Entry, Entry, FileId),
    /// Two files or directories change places.
    Swap((Entry, FileId), (Entry, FileId)),
    /// A name is gone.
    Remove(Entry),
}

/// What a call did.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Nothing that a loss of power could undo.
    None,
    /// It changed a file.
    Changed(FileId, Change),
    /// It changed a directory.
    Named(NameChange),
    /// It made a file durable.
    Synced(FileId),
    /// It tried to: what wasn't durable before never will be, whatever a later sync says.
    FailedToSync(FileId),
    /// It made durable which names a directory holds.
    SyncedDirectory(FileId),
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The method.
    pub(super) method: Method,
    /// The path of the file that it was about, as it was when that was opened.
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
