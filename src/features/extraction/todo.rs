use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;

use super::shard::{self, Read};
use super::{Worker, aside, layout, records};
use crate::Error;
use crate::io::commit::{Disk, LocalDisk, resolve_directory};
use crate::record::{ExtractionRecord, SetAside, quoted};

/// What of an extraction is still to do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Todo {
    /// The ids that aren't in a shard that verifies, in the order of the input.
    pub ids: Vec<String>,
    /// The place of each of them in the input, from 0.
    pub places: Vec<u64>,
    /// How many ids of the input are done.
    pub done: u64,
    /// How many shards verify.
    pub shards: u64,
    /// How many rows they have, those of ids that are there twice or aren't in the input included.
    pub rows: u64,
    /// The shards that are damaged.
    pub set_aside: Vec<SetAside>,
}

impl Todo {
    /// Returns those of the ids that are a rank's to do: of every `world_size` of the input, the one whose turn it is.
    ///
    /// It goes by the place in the input, and not by what is left of it: whenever a worker asks, and whatever others
    /// have saved by then, no id is two ranks' or nobody's.
    pub fn for_rank(&self, worker: Worker) -> Vec<String> {
        let is_mine = |place: u64| place % u64::from(worker.world_size()) == u64::from(worker.rank());
        let mine = self.ids.iter().zip(&self.places).filter(|(_, place)| is_mine(**place));
        mine.map(|(id, _)| id.clone()).collect()
    }
}

/// Returns what is still to do of the extraction in a directory, and changes nothing: damaged shards are only named.
///
/// # Errors
///
/// There is no extraction ([`ErrorKind::Nothing`](crate::ErrorKind)), or as
/// [`Extraction::todo`](super::Extraction::todo).
pub fn todo(directory: &Path, ids: &[impl AsRef<str>]) -> Result<Todo, Error> {
    let disk = LocalDisk;
    let directory = resolve_directory(&disk, directory)?;
    let record = records::find(&disk, &directory)?;
    survey(&disk, &directory, &record, ids, None)
}

/// Looks through all shards. With a time, what is damaged is set aside and what has no marker gets one.
pub(super) fn survey(
    disk: &dyn Disk,
    directory: &Path,
    record: &ExtractionRecord,
    ids: &[impl AsRef<str>],
    mend: Option<Timestamp>,
) -> Result<Todo, Error> {
    let places = places_of(ids)?;
    let mut is_done = vec![false; ids.len()];
    let mut todo = Todo::default();
    for place in layout::shards(disk, directory)? {
        let path = place.path(directory);
        match shard::read(&path, record)? {
            Read::Gone => {}
            Read::Damaged(finding) => {
                let moved = mend.map(|now| aside::set_aside(disk, &path, now)).transpose()?;
                let mut entry = SetAside::found(place.shown(), finding);
                entry.moved_to = moved.flatten();
                todo.set_aside.push(entry);
            }
            Read::Good(shard) => {
                if mend.is_some() {
                    shard.mark(disk)?;
                }
                todo.shards += 1;
                todo.rows += shard.ids.len() as u64;
                for id in &shard.ids {
                    if let Some(done) = places.get(id.as_str()).and_then(|place| is_done.get_mut(*place)) {
                        *done = true;
                    }
                }
            }
        }
    }
    for (place, (id, done)) in (0_u64..).zip(ids.iter().zip(is_done)) {
        if done {
            todo.done += 1;
        } else {
            todo.ids.push(id.as_ref().to_owned());
            todo.places.push(place);
        }
    }
    Ok(todo)
}

/// Returns the place of each id.
///
/// # Errors
///
/// One is there twice: which of its rows would be whose is nobody's to guess.
pub(super) fn places_of<I: AsRef<str>>(ids: &[I]) -> Result<HashMap<&str, usize>, Error> {
    let mut places = HashMap::with_capacity(ids.len());
    for (place, id) in ids.iter().enumerate() {
        if let Some(first) = places.insert(id.as_ref(), place) {
            let id = quoted(id.as_ref());
            let message =
                format!("the input has the id {id} twice, at places {first} and {place}: leave one out");
            return Err(Error::usage(message));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_the_input_whatever_is_done_of_it() {
        let ids: Vec<String> = (0..20).map(|id| id.to_string()).collect();
        let left = |done: &[u64]| {
            let places: Vec<u64> = (0..20).filter(|place| !done.contains(place)).collect();
            let ids = places.iter().map(ToString::to_string).collect();
            Todo { ids, places, ..Todo::default() }
        };
        // Rank 1 asks when rank 0 has saved some already.
        let early = left(&[]).for_rank(Worker::new(0, 3).unwrap());
        let late = left(&[0, 3, 6, 7]);
        let others = [1, 2].map(|rank| late.for_rank(Worker::new(rank, 3).unwrap())).concat();
        let mut all = [early, others, vec!["7".to_owned()]].concat();
        all.sort_unstable_by_key(|id| id.parse::<u64>().unwrap());
        assert_eq!(all, ids);
    }

    #[test]
    fn an_id_that_is_there_twice_is_named() {
        let error = places_of(&["a", "b", "a"]).unwrap_err().to_string();
        assert_eq!(error, "the input has the id 'a' twice, at places 0 and 2: leave one out");
    }
}
