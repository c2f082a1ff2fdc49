use std::io;
use std::path::Path;

use super::CopyOptions;
use super::beside::Beside;
use crate::Error;
use crate::digest::{Algorithm, Digest};
use crate::io::commit::{Disk, Existing, Temporary};
use crate::io::write::{Piece, WriteError, WriteOptions, write_pieces};
use crate::io::{FileSource, ReadAt as _, ScanOptions};
use crate::record::{BLOCK_BYTES, Code, CopiedFile, Finding, Level, Seal, SealDigests, block_ranges};
use crate::save::companions::read_seal;
use crate::tensor::Source;

/// Copies one file, with its marker and its seal: written and synced under a temporary name, read back, and only
/// then renamed.
///
/// `is_unchanged` is asked when all bytes are copied, whether the source as a whole is still the one that was
/// verified; the file itself is looked at here.
///
/// # Errors
///
/// The file can't be read, written, or read back; it changed meanwhile; its seal is of other bytes. Nothing of
/// the copy is left then.
pub(super) fn copy(
    disk: &dyn Disk,
    (from, to): (&Path, &Path),
    options: &CopyOptions,
    is_unchanged: impl FnOnce() -> bool,
) -> Result<CopiedFile, Error> {
    let source = FileSource::open(from).map_err(|error| Error::io(from, "read it", error))?;
    let seal = read_seal(from)?;
    let mut temporary = Temporary::create(disk, to)?;
    temporary.reserve(source.len())?;
    let digests = write(&temporary, &source, from, algorithm(seal.as_ref()), options)?;
    temporary.sync()?;
    read_back(disk, &temporary, &digests, source.len(), options)?;
    if source.changed().unwrap_or(true) || !is_unchanged() {
        let message = "the file changed while it was copied: copy it again when it is finished";
        return Err(Error::found(from, Finding::unreadable(Code::ChangedWhileRead, Level::Load, message)));
    }
    if let Some((_, seal)) = &seal {
        hold(from, seal, &digests, source.len())?;
    }
    let seal = seal.map(|(text, _)| text);
    let beside = Beside::begin(disk, &temporary, (from, &source), seal, options.durability)?;
    let existing = if options.overwrite { Existing::Replace } else { Existing::Keep };
    temporary.commit(existing, options.durability).inspect_err(|_| beside.undo())?;
    let (marker, seal) = beside.finish()?;
    Ok(CopiedFile {
        source: from.to_owned(),
        destination: to.to_owned(),
        bytes: source.len(),
        digest: digests.id(source.len()),
        marker,
        seal,
    })
}

/// Returns what the copy's digests are computed with: what the source's seal was, so that they compare.
fn algorithm(seal: Option<&(Vec<u8>, Seal)>) -> Algorithm {
    seal.and_then(|(_, seal)| seal.digests.as_ref())
        .map_or_else(Algorithm::default, |digests| digests.algorithm)
}

/// Writes the bytes, and returns the digests of those that were read: taken from the very buffer that is written,
/// before it goes to the device.
fn write(
    temporary: &Temporary<'_>,
    source: &FileSource,
    from: &Path,
    algorithm: Algorithm,
    options: &CopyOptions,
) -> Result<SealDigests, Error> {
    let failed = |error| match error {
        WriteError::Disk(error) => temporary.failed_to_write(error),
        WriteError::Source(error) => error,
    };
    let bytes = Bytes { source, path: from };
    let pieces = [Piece { offset: 0, source: &bytes, is_data: true }];
    let progress = |bytes| options.progress.iter().for_each(|progress| progress.add(bytes));
    let write = WriteOptions {
        threads: options.threads,
        algorithm,
        progress: Some(&progress),
        ..WriteOptions::default()
    };
    let written = write_pieces(temporary.file(), &pieces, &write).map_err(failed)?;
    let blocks = written.into_iter().flat_map(|piece| piece.blocks).collect();
    // What is written around the page cache is padded to whole sectors.
    temporary.file().set_len(source.len()).map_err(|error| temporary.failed_to_write(error))?;
    Ok(SealDigests { algorithm, block_bytes: BLOCK_BYTES, blocks })
}

/// Reads the copy back from the device, and holds it against what was read of the source. This proves a copy of
/// any format, whether or not it has checksums of its own.
fn read_back(
    disk: &dyn Disk,
    temporary: &Temporary<'_>,
    digests: &SealDigests,
    bytes: u64,
    options: &CopyOptions,
) -> Result<(), Error> {
    let failed = |error| Error::io(temporary.destination(), "read the copy back", error);
    let copy = disk.open(temporary.path()).map_err(failed)?;
    let progress = |bytes| options.progress.iter().for_each(|progress| progress.add(bytes));
    let scan = ScanOptions::default().with_threads(options.threads).with_progress(&progress);
    let ranges = block_ranges(&[0..bytes], digests.block_bytes);
    let found: Vec<Digest> = copy.digests(&ranges, digests.algorithm, &scan).map_err(failed)?;
    if copy.len() == bytes && found == digests.blocks {
        return Ok(());
    }
    Err(failed(io::Error::other("it isn't what was written: the device or the memory is at fault (dmesg)")))
}

/// Holds the bytes that were read against the source's seal, which is to be copied: what vouches for the copy
/// must vouch for what was copied, even where the source wasn't verified.
fn hold(from: &Path, seal: &Seal, digests: &SealDigests, bytes: u64) -> Result<(), Error> {
    let holds = match &seal.digests {
        None => true,
        // Windows of another length were held against the file by its check.
        Some(sealed) if sealed.block_bytes != digests.block_bytes => true,
        Some(sealed) => sealed.blocks == digests.blocks,
    };
    if seal.bytes == bytes && holds {
        return Ok(());
    }
    let message = "its seal was made for other bytes: it was damaged, or rewritten since";
    Err(Error::found(from, Finding::corrupted(Code::ChecksumMismatch, Level::Load, message)))
}

/// The bytes of a file, for the engine that writes.
struct Bytes<'a> {
    source: &'a FileSource,
    path: &'a Path,
}

impl Source for Bytes<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.source.read_bulk_at(buffer, offset).map_err(|error| Error::io(self.path, "read it", error))
    }
}
