//! Looking at files: what they are now, and whether they are what they were.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::place::Place;
use crate::Error;
use crate::digest::{Algorithm, Crc64, Hasher};
use crate::io::commit::is_temporary;
use crate::io::{FileSource, ReadAt as _, ScanOptions, ScanSource as _};
use crate::record::{BLOCK_BYTES, FileRecord, Level, Lifetime, Verdict, block_ranges};
use crate::validate::{VerifyOptions, read_proof_of, verify};

/// The most threads that read one file.
const MAX_THREADS: usize = 8;

/// What is seen of a file, or of a directory of files, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) bytes: u64,
    pub(super) modified: Timestamp,
    /// How many files a directory holds.
    pub(super) files: Option<u64>,
}

impl Glance {
    /// Returns whether a record was made of something that looked like this.
    fn fits(&self, record: &FileRecord) -> bool {
        *self == Self { bytes: record.bytes, modified: record.modified, files: record.files }
    }
}

/// What is wrong with a file that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It isn't there.
    Gone,
    /// It is another one, which this says.
    Changed(String),
    /// It can't be looked at, for this reason.
    Unreadable(String),
}

/// Looks at a path; `None` where nothing is.
///
/// # Errors
///
/// It can't be looked at, or is neither a regular file nor a directory.
pub(super) fn glance(path: &Path) -> Result<Option<Glance>, Error> {
    let metadata = match fs::metadata(path) {
        Err(error) if is_absence(&error) => return Ok(None),
        metadata => metadata.map_err(|error| Error::io(path, "look at it", error))?,
    };
    if metadata.is_file() {
        return Ok(Some(Glance { bytes: metadata.len(), modified: modified(&metadata), files: None }));
    }
    if !metadata.is_dir() {
        return Err(Error::usage("it is neither a file nor a directory").at(path));
    }
    let mut all = Glance { bytes: 0, modified: Timestamp::MIN, files: Some(0) };
    for file in walk(path)? {
        all.bytes = all.bytes.saturating_add(file.metadata.len());
        all.modified = all.modified.max(modified(&file.metadata));
        all.files = all.files.map(|files| files + 1);
    }
    if all.files == Some(0) {
        all.modified = modified(&metadata);
    }
    Ok(Some(all))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Returns the time of modification, as records have it; the beginning of time where the system has none.
fn modified(metadata: &Metadata) -> Timestamp {
    let time = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Makes the record of a file, or of a directory of files, from all of its bytes; `None` where nothing is.
///
/// # Errors
///
/// It can't be read, changes meanwhile, or carries a proof and is damaged.
pub(super) fn record(place: &Place, named: &str) -> Result<Option<FileRecord>, Error> {
    let path = place.file(named);
    let Some(glance) = glance(&path)? else { return Ok(None) };
    let (digest, proven) = match glance.files {
        None => file_digest(&path)?,
        Some(_) => (tree_digest(&path)?, false),
    };
    if self::glance(&path)? != Some(glance) {
        return Err(Error::usage("it changed while it was read: something is still writing to it").at(path));
    }
    let mut record = FileRecord::new(named, glance.bytes, glance.modified, digest);
    (record.proven, record.files) = (proven, glance.files);
    Ok(Some(record))
}

/// As [`record`], but that a file which looks as it is known isn't read again.
///
/// # Errors
///
/// As [`record`].
pub(super) fn recorded(
    place: &Place,
    named: &str,
    known: &[FileRecord],
) -> Result<Option<FileRecord>, Error> {
    let Some(glance) = glance(&place.file(named))? else { return Ok(None) };
    match known.iter().find(|known| known.path == named && glance.fits(known)) {
        Some(known) => Ok(Some(FileRecord { lifetime: Lifetime::Keep, removed: None, ..known.clone() })),
        None => record(place, named),
    }
}

/// Holds what is there against a record, as deep as the level says. Returns when it was last modified: where that differs
/// from the record, the bytes were read, and are those that were recorded.
///
/// # Errors
///
/// It isn't what was recorded.
pub(super) fn check(place: &Place, record: &FileRecord, level: Level) -> Result<Timestamp, Fault> {
    let path = place.file(&record.path);
    let glance = glance(&path).map_err(|error| Fault::Unreadable(error.to_string()))?;
    let glance = glance.ok_or(Fault::Gone)?;
    if let Some(how) = differs(record, glance) {
        return Err(Fault::Changed(how));
    }
    let is_read = level >= Level::Load || !glance.fits(record);
    if !is_read && (level < Level::Container || looks_sound(&path, record)) {
        return Ok(record.modified);
    }
    match self::record(place, &record.path) {
        Ok(Some(now)) if (&now.digest, now.proven) == (&record.digest, record.proven) => Ok(now.modified),
        Ok(Some(now)) => {
            Err(Fault::Changed(format!("its digest is {}, and was {}", now.digest, record.digest)))
        }
        Ok(None) => Err(Fault::Gone),
        Err(error) if error.finding().is_some() => Err(Fault::Changed(error.to_string())),
        Err(error) => Err(Fault::Unreadable(error.to_string())),
    }
}

/// Says how what is there differs from a record at the first look.
fn differs(record: &FileRecord, glance: Glance) -> Option<String> {
    match (glance.files, record.files) {
        (None, Some(_)) => Some("it is a file, and was a directory".to_owned()),
        (Some(_), None) => Some("it is a directory, and was a file".to_owned()),
        (Some(now), Some(then)) if now != then => Some(format!("it holds {now} files, and held {then}")),
        _ if glance.bytes != record.bytes => {
            Some(format!("it has {} bytes, and had {}", glance.bytes, record.bytes))
        }
        _ => None,
    }
}

/// Returns whether the structure of a file has nothing wrong with it, and it carries the proof that it did. What is no
/// checkpoint has no structure.
fn looks_sound(path: &Path, record: &FileRecord) -> bool {
    if record.files.is_some() {
        return true;
    }
    let options = VerifyOptions::default().with_level(Level::Container);
    if matches!(verify(path, &options).verdict, Verdict::Corrupted | Verdict::Unreadable) {
        return false;
    }
    !record.proven || proof_id(path).is_ok_and(|id| id.as_ref() == Some(&record.digest))
}

/// Returns the id of the proof that a file carries, if any.
fn proof_id(path: &Path) -> io::Result<Option<String>> {
    let source = FileSource::open(path)?;
    Ok(read_proof_of(&source)?.map(|proven| proven.proof.id()))
}

/// Returns the digest of a file as records have it, and whether it is the id of its proof.
fn file_digest(path: &Path) -> Result<(String, bool), Error> {
    let failed = |error| Error::io(path, "read it", error);
    if let Some(id) = proof_id(path).map_err(failed)? {
        let report = verify(path, &VerifyOptions::default());
        return match report.reason() {
            Some(finding) if finding.verdict != Verdict::Incompatible => {
                Err(Error::found(path, finding.clone()))
            }
            _ => Ok((id, true)),
        };
    }
    Ok((format!("{}:{}", Algorithm::Crc64Nvme, bytes_digest(path).map_err(failed)?), false))
}

/// Returns the digest of a file's bytes, which several threads read.
fn bytes_digest(path: &Path) -> io::Result<crate::digest::Digest> {
    let source = FileSource::open(path)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let blocks = block_ranges(&[0..source.len()], BLOCK_BYTES);
    let options = ScanOptions::default().with_threads(threads);
    let digests = source.digests(&blocks, Algorithm::Crc64Nvme, &options)?;
    let sums = blocks.iter().zip(&digests).map(|(block, digest)| {
        let value = digest.as_bytes().iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Crc64::computed(value, block.end.saturating_sub(block.start))
    });
    Ok(sums.fold(Crc64::of(b""), Crc64::then).into())
}

/// Something in a directory that isn't one.
struct Walked {
    /// Its path within the directory, with `/` between the names.
    name: String,
    path: PathBuf,
    metadata: Metadata,
}

/// Lists what is in a directory and those below it, sorted by path. Links are listed and not followed; temporary files
/// of ckpt are left out.
fn walk(directory: &Path) -> Result<Vec<Walked>, Error> {
    let mut found = Vec::new();
    let mut open = vec![(directory.to_owned(), String::new())];
    while let Some((directory, prefix)) = open.pop() {
        let failed = |error| Error::io(&directory, "list what is in it", error);
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if is_temporary(&entry.file_name()) {
                continue;
            }
            let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().display()));
            let metadata = entry.metadata().map_err(|error| Error::io(&path, "look at it", error))?;
            if metadata.is_dir() {
                open.push((path, format!("{name}/")));
            } else {
                found.push(Walked { name, path, metadata });
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Returns the digest of a directory: the BLAKE3 of a line for each file, with its path, size and digest.
fn tree_digest(directory: &Path) -> Result<String, Error> {
    let mut hasher = Hasher::new(Algorithm::Blake3);
    for Walked { name, path, metadata } in walk(directory)? {
        let failed = |error| Error::io(&path, "read it", error);
        let content = if metadata.is_file() {
            bytes_digest(&path).map_err(failed)?.to_string()
        } else if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).map_err(failed)?.display())
        } else {
            return Err(Error::usage("it is neither a file nor a directory").at(path));
        };
        hasher.update(format!("{name}\0{}\0{content}\n", metadata.len()).as_bytes());
    }
    Ok(format!("{}:{}", Algorithm::Blake3, hasher.finish()))
}
