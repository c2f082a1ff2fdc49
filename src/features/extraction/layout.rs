//! What lies where: the names of an extraction's directories and files.
//!
//! | path | what it is |
//! |---|---|
//! | `extraction.json` | what holds for all of it |
//! | `shard_R/` | what rank R saved |
//! | `shard_R/lock` | held by the worker that is rank R now |
//! | `shard_R/rank.json` | what rank R says of its shards |
//! | `shard_R/batch_K.safetensors`, `.pt` | a shard |
//! | `shard_R/batch_K.safetensors.done` | its completion marker |
//! | `shard_R/batch_K.….corrupt-TIME` | a damaged shard that was set aside |

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::io::commit::Disk;
use crate::record::ExtractionRecord;
use crate::save::Format;

/// The file whose lock the worker of a rank holds.
pub(super) const LOCK: &str = "lock";

const RANK_PREFIX: &str = "shard_";
const SHARD_PREFIX: &str = "batch_";
const EXTENSIONS: [&str; 2] = ["safetensors", "pt"];

/// Where a shard lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) rank: u32,
    pub(super) batch: u64,
    pub(super) name: String,
}

impl Place {
    /// Returns its name within the extraction: `shard_3/batch_7.safetensors`.
    pub(super) fn shown(&self) -> String {
        format!("{}/{}", rank_name(self.rank), self.name)
    }

    /// Returns its path.
    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        rank_directory(directory, self.rank).join(&self.name)
    }
}

/// Returns the name of a rank's directory.
fn rank_name(rank: u32) -> String {
    format!("{RANK_PREFIX}{rank}")
}

/// Returns the directory of a rank.
pub(super) fn rank_directory(directory: &Path, rank: u32) -> PathBuf {
    directory.join(rank_name(rank))
}

/// Returns the name of a shard.
pub(super) fn shard_name(batch: u64, format: Format) -> String {
    let extension = if format == Format::Safetensors { "safetensors" } else { "pt" };
    format!("{SHARD_PREFIX}{batch}.{extension}")
}

/// Reads a number as it is written: no sign, no zeros before it.
fn number(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Returns the rank whose directory has this name.
fn rank_of(name: &OsStr) -> Option<u32> {
    let rank = u32::try_from(number(name.to_str()?.strip_prefix(RANK_PREFIX)?)?).ok()?;
    (rank < ExtractionRecord::MAX_RANKS).then_some(rank)
}

/// Returns the number of the shard that has this name.
fn shard_of(name: &OsStr) -> Option<(u64, String)> {
    let name = name.to_str()?;
    let (batch, extension) = name.strip_prefix(SHARD_PREFIX)?.split_once('.')?;
    EXTENSIONS.contains(&extension).then_some((number(batch)?, name.to_owned()))
}

/// Returns the number in the name of a shard, of its marker, or of what is left of it.
fn taken(name: &OsStr) -> Option<u64> {
    number(name.to_str()?.strip_prefix(SHARD_PREFIX)?.split_once('.')?.0)
}

/// Lists a directory; nothing where there is none.
fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<OsString>, Error> {
    match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|error| Error::io(directory, "list the shards", error)),
    }
}

/// Lists the ranks that have a directory, in order.
pub(super) fn ranks(disk: &dyn Disk, directory: &Path) -> Result<Vec<u32>, Error> {
    let mut ranks = Vec::new();
    for rank in list(disk, directory)?.iter().filter_map(|name| rank_of(name)) {
        let path = rank_directory(directory, rank);
        let stat =
            disk.stat(&path).map_err(|error| Error::io(path, "look at the rank's directory", error))?;
        ranks.extend(stat.is_some_and(|stat| stat.is_directory).then_some(rank));
    }
    ranks.sort_unstable();
    Ok(ranks)
}

/// Lists the shards of a rank, by number.
pub(super) fn shards_of(disk: &dyn Disk, directory: &Path, rank: u32) -> Result<Vec<Place>, Error> {
    let names = list(disk, &rank_directory(directory, rank))?;
    let place = |(batch, name)| Place { rank, batch, name };
    let mut places: Vec<Place> = names.iter().filter_map(|name| shard_of(name).map(place)).collect();
    places.sort_unstable();
    Ok(places)
}

/// Lists all shards, by rank and number.
pub(super) fn shards(disk: &dyn Disk, directory: &Path) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    for rank in ranks(disk, directory)? {
        places.extend(shards_of(disk, directory, rank)?);
    }
    Ok(places)
}

/// Returns the number of a rank's next shard: behind all that were ever there, those that were set aside included.
pub(super) fn next_batch(disk: &dyn Disk, directory: &Path, rank: u32) -> Result<u64, Error> {
    let directory = rank_directory(directory, rank);
    let last = list(disk, &directory)?.iter().filter_map(|name| taken(name)).max();
    let next = last.map_or(Some(0), |last| last.checked_add(1));
    next.ok_or_else(|| {
        Error::usage("a shard has the last number that there is: move it elsewhere").at(directory)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(rank_of("shard_12".as_ref()), Some(12));
        for name in
            ["shard_", "shard_01", "shard_+1", "shard_-1", "shard_65536", "shard_1x", "rank_1", "shard_1.tmp"]
        {
            assert_eq!(rank_of(name.as_ref()), None, "{name}");
        }
        for format in [Format::Safetensors, Format::Torch] {
            let name = shard_name(30, format);
            assert_eq!(shard_of(name.as_ref()), Some((30, name.clone())));
        }
        for name in [
            "batch_1.safetensors.done",
            "batch_1.pt.corrupt-20260301T120000Z",
            "batch_01.pt",
            "batch_.pt",
            "batch_1",
        ] {
            assert_eq!(shard_of(name.as_ref()), None, "{name}");
        }
    }

    #[test]
    fn the_next_number_is_behind_all_that_were_ever_there() {
        let directory = tempfile::tempdir().unwrap();
        let rank = rank_directory(directory.path(), 3);
        let next = || next_batch(&crate::io::commit::LocalDisk, directory.path(), 3);
        assert_eq!(next().unwrap(), 0);
        std::fs::create_dir(&rank).unwrap();
        for (name, expected) in [
            ("rank.json", 0),
            ("batch_0.pt", 1),
            ("batch_7.safetensors.corrupt-20260301T120000Z", 8),
            ("batch_9.safetensors.done", 10),
            ("batch_1.pt", 10),
        ] {
            std::fs::write(rank.join(name), "").unwrap();
            assert_eq!(next().unwrap(), expected, "{name}");
        }
        std::fs::write(rank.join(format!("batch_{}.pt", u64::MAX)), "").unwrap();
        assert!(next().unwrap_err().to_string().contains("the last number"));
    }
}
