//! One file of all shards.
//!
//! Every shard is verified before anything of it is used; then its ids are put into the index (`index`), which knows of
//! each id of the input in which shard and row it is. The rows themselves are read while the file is written, in its
//! order (`rows`): beside the ids and the index nothing is held.

mod index;
mod options;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::records;
use super::shard::{DATA, IDS};
use crate::Error;
use crate::io::commit::{Disk, LocalDisk, resolve_directory};
use crate::record::{Aggregated, Code, Finding, InputUnit, Level, quoted};
use crate::save::save_on;
use crate::tensor::{Data, State, TensorView, Value};
use index::Index;

pub use options::AggregateOptions;

/// Makes one file of all shards of the extraction in a directory: `ids`, a list of texts, and `data`, a tensor with a
/// row to each, in the order of `ids`, which is that of the input. Without them, the order is that of the shards: by
/// rank and number.
///
/// The file is saved as [`save`](crate::save()) does, and depends on nothing but the ids and their rows: neither on how
/// many workers there were, nor on how often they were killed. Memory holds the ids and where each of them is, never the
/// rows.
///
/// # Errors
///
/// Ids have no row in any shard that verifies, unless [`AggregateOptions::allow_missing`] says that they may; there is no
/// row at all; shards have rows of several kinds; an id is in `ids` twice; or something can't be read or written. Nothing
/// is at `out` then that wasn't there before.
pub fn aggregate(
    directory: &Path,
    ids: Option<&[String]>,
    out: &Path,
    options: &AggregateOptions,
) -> Result<Aggregated, Error> {
    aggregate_on(&LocalDisk, directory, ids, out, options)
}

/// As [`aggregate`], writing to a disk of the caller's: see [`Disk`].
///
/// # Errors
///
/// As [`aggregate`].
pub fn aggregate_on(
    disk: &dyn Disk,
    directory: &Path,
    ids: Option<&[String]>,
    out: &Path,
    options: &AggregateOptions,
) -> Result<Aggregated, Error> {
    let start = Instant::now();
    let directory = resolve_directory(&LocalDisk, directory)?;
    let record = records::find(&LocalDisk, &directory)?;
    let mut found = Aggregated::new(out);
    let mut index = Index::of(ids)?;
    index.read(&directory, &record, &mut found)?;
    let expected = match (ids, record.input.of) {
        (None, InputUnit::Ids) => Some(record.input.count),
        _ => None,
    };
    index.count_missing(expected, &mut found);
    if found.missing > 0 && !options.allow_missing {
        return Err(incomplete(&found).at(directory));
    }
    let Some(form) = index.form.clone() else {
        return Err(Error::nothing(directory, "no shard of the extraction has any row"));
    };
    let (order, gathered) = index.gathered();
    found.rows = order.len() as u64;
    let shape = form.shape(found.rows);
    let mut state = State::new();
    state.insert(IDS, Value::List(order.into_iter().map(Value::from).collect()))?;
    state.insert(DATA, TensorView::new(form.dtype, shape, Data::new(Arc::new(gathered)))?)?;
    let save = options.save.clone().with_metadata("extraction.id", &*record.id);
    let saved = save_on(disk, out, &state, &save.with_metadata("extraction.model", &*record.model.hash))?;
    (found.bytes, found.proof, found.path) = (saved.bytes, saved.proof.id(), saved.path);
    found.took(start.elapsed());
    Ok(found)
}

/// The error for ids that have no row.
fn incomplete(found: &Aggregated) -> Error {
    let missing = found.missing;
    let first =
        found.missing_ids.first().map_or_else(String::new, |id| format!(", the first is {}", quoted(id)));
    let damaged = found.damaged.first().map_or_else(String::new, |shard| {
        let more = match found.damaged.len() {
            1 => String::new(),
            more => format!(", and {} more", more - 1),
        };
        format!("; {} is damaged{more}: {}", shard.shard, shard.finding.message)
    });
    let ids = if missing == 1 { "id has" } else { "ids have" };
    let message = format!("{missing} {ids} no row in any shard that verifies{first}{damaged}");
    Error::of(Finding::incompatible(Code::KeyMissing, Level::Keys, message))
}
