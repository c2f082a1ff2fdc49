//! What the ranks say of themselves: written by each alone, put together when they are read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::layout;
use crate::Error;
use crate::io::commit::{
    Disk, Durability, Existing, LocalDisk, Temporary, clean, resolve_directory, set_aside, write_small,
};
use crate::record::{
    Code, ExtractionManifest, ExtractionRecord, ExtractionRecordError, Finding, Level, RankRecord,
};

/// Returns what the workers of the extraction in a directory have saved, as their records say. Nothing of the shards
/// themselves is read.
///
/// # Errors
///
/// There is no extraction ([`ErrorKind::Nothing`](crate::ErrorKind)); or a record can't be read, or is of a later
/// version.
pub fn manifest(directory: &Path) -> Result<ExtractionManifest, Error> {
    let directory = resolve_directory(&LocalDisk, directory)?;
    let record = find(&LocalDisk, &directory)?;
    merged(&LocalDisk, &directory, record)
}

/// A record that was looked for.
enum Found<T> {
    Nothing,
    Good(T),
    Damaged(&'static str),
}

/// Reads a record; one of a later version is an error.
fn read<T>(
    disk: &dyn Disk,
    path: &Path,
    most: u64,
    parse: impl FnOnce(&[u8]) -> Result<T, ExtractionRecordError>,
) -> Result<Found<T>, Error> {
    let failed = |error| Error::io(path, "read the record of the extraction", error);
    match disk.stat(path).map_err(failed)? {
        None => return Ok(Found::Nothing),
        Some(stat) if !stat.is_file => return Err(failed(std::io::ErrorKind::InvalidInput.into())),
        Some(stat) if stat.len > most => return Ok(Found::Damaged("it is far too long")),
        Some(_) => {}
    }
    match parse(&disk.read(path, most).map_err(failed)?) {
        Ok(record) => Ok(Found::Good(record)),
        Err(ExtractionRecordError::Damaged(why)) => Ok(Found::Damaged(why)),
        Err(error) => Err(Error::incompatible(error.to_string()).at(path)),
    }
}

fn read_extraction(disk: &dyn Disk, path: &Path) -> Result<Found<ExtractionRecord>, Error> {
    read(disk, path, ExtractionRecord::MAX_BYTES, ExtractionRecord::parse)
}

/// Returns the record of the extraction that there is.
pub(super) fn find(disk: &dyn Disk, directory: &Path) -> Result<ExtractionRecord, Error> {
    let path = directory.join(ExtractionRecord::NAME);
    match read_extraction(disk, &path)? {
        Found::Good(record) => Ok(record),
        Found::Nothing => {
            Err(Error::nothing(directory, "there is no extraction of features in this directory"))
        }
        Found::Damaged(why) => {
            let message = format!("{why}; the next worker that opens the extraction writes it anew");
            let finding = Finding::corrupted(Code::IndexMalformed, Level::Size, message);
            Err(Error::found(path, finding))
        }
    }
}

/// Writes the record of an extraction that begins, or holds the one that is there against what is wanted. A damaged one
/// is set aside: all that it says is wanted again, and each shard says by itself what it belongs to.
pub(super) fn begin(
    disk: &dyn Disk,
    directory: &Path,
    wanted: &ExtractionRecord,
    now: Timestamp,
) -> Result<ExtractionRecord, Error> {
    let path = directory.join(ExtractionRecord::NAME);
    match read_extraction(disk, &path)? {
        Found::Good(there) => return agreed(there, wanted, &path),
        Found::Damaged(_) => drop(set_aside(disk, &path, now)),
        Found::Nothing => {}
    }
    clean(disk, directory);
    let created = create(disk, &path, wanted.encode().as_bytes());
    // Another worker may have been faster.
    match (read_extraction(disk, &path)?, created) {
        (Found::Good(there), _) => agreed(there, wanted, &path),
        (_, Err(error)) => Err(error),
        (_, Ok(())) => Err(Error::usage("the record of the extraction isn't what was just written").at(path)),
    }
}

/// Writes a file, unless there is one.
fn create(disk: &dyn Disk, path: &Path, text: &[u8]) -> Result<(), Error> {
    let temporary = Temporary::create(disk, path)?;
    temporary.file().write_all_at(text, 0).map_err(|error| temporary.failed_to_write(error))?;
    temporary.commit(Existing::Keep, Durability::Full)
}

/// Refuses what was made of another input or with another model, and names what differs.
fn agreed(
    there: ExtractionRecord,
    wanted: &ExtractionRecord,
    path: &Path,
) -> Result<ExtractionRecord, Error> {
    let other = if wanted.model.hash != there.model.hash {
        let differences = wanted.model.differences(&there.model);
        format!("its shards were made with another model configuration: {}", differences.join("; "))
    } else if wanted.input != there.input {
        format!("its shards were made of another input: here {}; there {}", wanted.input, there.input)
    } else {
        return Ok(there);
    };
    Err(Error::incompatible(format!("{other}; go on as it began, or name another directory")).at(path))
}

/// Returns where a rank's record is.
fn rank_path(directory: &Path, rank: u32) -> PathBuf {
    layout::rank_directory(directory, rank).join(RankRecord::NAME)
}

/// Reads a rank's own record; `None` where there is none that can be used: it is made anew from the shards.
pub(super) fn read_rank(
    disk: &dyn Disk,
    directory: &Path,
    rank: u32,
    extraction: &str,
) -> Result<Option<RankRecord>, Error> {
    let is_own = |record: &RankRecord| record.rank == rank && record.extraction == extraction;
    let path = rank_path(directory, rank);
    match read(disk, &path, RankRecord::MAX_BYTES, RankRecord::parse)? {
        Found::Good(record) if is_own(&record) => Ok(Some(record)),
        Found::Good(_) | Found::Damaged(_) | Found::Nothing => Ok(None),
    }
}

/// Writes a rank's record.
pub(super) fn write_rank(disk: &dyn Disk, directory: &Path, record: &RankRecord) -> Result<(), Error> {
    let path = rank_path(directory, record.rank);
    write_small(disk, &path, record.encode().as_bytes(), Durability::Full)
}

/// Puts the ranks' records together, with what lies in their directories.
pub(super) fn merged(
    disk: &dyn Disk,
    directory: &Path,
    extraction: ExtractionRecord,
) -> Result<ExtractionManifest, Error> {
    let (mut ranks, mut unrecorded, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
    for rank in layout::ranks(disk, directory)? {
        // Its record first: a shard that is saved meanwhile is unrecorded, and none is missing.
        let record = read_rank(disk, directory, rank, &extraction.id)?;
        let places = layout::shards_of(disk, directory, rank)?;
        let there: HashSet<&str> = places.iter().map(|place| place.name.as_str()).collect();
        let mut named = HashSet::new();
        match record {
            Some(mut record) => {
                record.retain(|shard| there.contains(shard.name.as_str()));
                named.extend(record.batches.iter().map(|shard| shard.name.clone()));
                ranks.push(record);
            }
            None if has_record(disk, directory, rank)? => damaged.push(rank),
            None => {}
        }
        unrecorded
            .extend(places.iter().filter(|place| !named.contains(&place.name)).map(layout::Place::shown));
    }
    Ok(ExtractionManifest::new(extraction, ranks, unrecorded, damaged))
}

/// Returns whether there is something where a rank's record should be.
fn has_record(disk: &dyn Disk, directory: &Path, rank: u32) -> Result<bool, Error> {
    let path = rank_path(directory, rank);
    let stat = disk.stat(&path).map_err(|error| Error::io(path, "look for the record of a rank", error))?;
    Ok(stat.is_some())
}
