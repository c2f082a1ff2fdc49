//! Which row of which shard is whose.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::rows::{Gathered, Location};
use crate::Error;
use crate::features::extraction::fill::Form;
use crate::features::extraction::layout;
use crate::features::extraction::shard::{self, Read, Rows, Shard};
use crate::features::extraction::todo::places_of;
use crate::io::commit::LocalDisk;
use crate::record::{Aggregated, ExtractionRecord, SetAside};
use crate::tensor::Source as _;

/// The ids in their order, and where each of their rows is.
pub(super) struct Index<'i> {
    order: Order<'i>,
    rows: Vec<Option<Location>>,
    /// The shards that rows are taken from.
    shards: Vec<PathBuf>,
    /// What all rows have alike; none before the first shard.
    pub(super) form: Option<Form>,
    /// The shard that a duplicate was last held against, open: those of one shard mostly have their first rows in one.
    compared: Option<(usize, Rows)>,
}

/// In which order the ids come.
enum Order<'i> {
    /// As the input has them: with the place of each.
    Given(&'i [String], HashMap<&'i str, usize>),
    /// As the shards have them.
    Found(Vec<String>, HashMap<String, usize>),
}

impl Order<'_> {
    /// Returns the place of an id; `None` where the input doesn't have it. Without an input, it gets the next.
    fn place(&mut self, id: &str) -> Option<usize> {
        match self {
            Self::Given(_, places) => places.get(id).copied(),
            Self::Found(ids, places) => Some(places.get(id).copied().unwrap_or_else(|| {
                ids.push(id.to_owned());
                places.insert(id.to_owned(), ids.len() - 1);
                ids.len() - 1
            })),
        }
    }

    fn id(&self, place: usize) -> &str {
        let ids = match self {
            Self::Given(ids, _) => *ids,
            Self::Found(ids, _) => ids.as_slice(),
        };
        ids.get(place).map_or("", String::as_str)
    }
}

impl<'i> Index<'i> {
    /// Makes the index of an input, of which no row is known.
    pub(super) fn of(ids: Option<&'i [String]>) -> Result<Self, Error> {
        let (order, count) = match ids {
            Some(ids) => (Order::Given(ids, places_of(ids)?), ids.len()),
            None => (Order::Found(Vec::new(), HashMap::new()), 0),
        };
        Ok(Self { order, rows: vec![None; count], shards: Vec::new(), form: None, compared: None })
    }

    /// Verifies all shards, and takes up which rows they have.
    pub(super) fn read(
        &mut self,
        directory: &Path,
        record: &ExtractionRecord,
        found: &mut Aggregated,
    ) -> Result<(), Error> {
        for place in layout::shards(&LocalDisk, directory)? {
            match shard::read(&place.path(directory), record)? {
                Read::Gone => {}
                Read::Damaged(finding) => found.damaged.push(SetAside::found(place.shown(), finding)),
                Read::Good(shard) => self.add(&shard, found)?,
            }
        }
        Ok(())
    }

    /// Takes up the rows of a shard.
    fn add(&mut self, shard: &Shard, found: &mut Aggregated) -> Result<(), Error> {
        let form = self.form.get_or_insert_with(|| shard.form.clone());
        if *form != shard.form {
            let message = format!(
                "its rows are {} of shape {:?}, and those of the shards before it {} of {:?}: they make no one tensor",
                shard.form.dtype, shard.form.row, form.dtype, form.row
            );
            return Err(Error::incompatible(message).at(&shard.path));
        }
        let number = self.shards.len();
        self.shards.push(shard.path.clone());
        found.shards += 1;
        for (row, id) in (0_u64..).zip(&shard.ids) {
            let Some(place) = self.order.place(id) else {
                found.add_unlisted(id);
                continue;
            };
            if place >= self.rows.len() {
                self.rows.resize(place + 1, None);
            }
            match self.rows.get_mut(place) {
                Some(Some(first)) => {
                    let first = *first;
                    self.compare(first, shard, row, id, found)?;
                }
                Some(free) => *free = Some(Location { shard: number, row }),
                None => {}
            }
        }
        Ok(())
    }

    /// Counts a further row of an id, and looks whether it is the same.
    fn compare(
        &mut self,
        first: Location,
        shard: &Shard,
        row: u64,
        id: &str,
        found: &mut Aggregated,
    ) -> Result<(), Error> {
        found.add_duplicate(id);
        let row_bytes = shard.form.row_bytes;
        let one = row_of(self.compared(first.shard)?, first.row, row_bytes)?;
        if one != row_of(&shard.rows, row, row_bytes)? {
            found.add_differing(id);
        }
        Ok(())
    }

    /// Opens a shard to hold duplicates against.
    fn compared(&mut self, number: usize) -> Result<&Rows, Error> {
        if self.compared.as_ref().is_none_or(|(open, _)| *open != number) {
            let path = self.shards.get(number).ok_or_else(|| Error::usage("there is no such shard"))?;
            self.compared = Some((number, shard::open_rows(path)?));
        }
        self.compared.as_ref().map(|(_, rows)| rows).ok_or_else(|| Error::usage("there is no such shard"))
    }

    /// Counts the ids that have no row. Where the input's ids weren't given, their number says how many those are.
    pub(super) fn count_missing(&self, expected: Option<u64>, found: &mut Aggregated) {
        for (place, row) in self.rows.iter().enumerate() {
            if row.is_none() {
                found.add_missing(self.order.id(place));
            }
        }
        if let Some(expected) = expected {
            found.missing = expected.saturating_sub(self.rows.len() as u64);
        }
    }

    /// Returns the ids that have a row, in order, with the source of those rows.
    pub(super) fn gathered(self) -> (Vec<String>, Gathered) {
        let row_bytes = self.form.as_ref().map_or(0, |form| form.row_bytes);
        let has_row = |place: &usize| self.rows.get(*place).is_some_and(Option::is_some);
        let ids = match self.order {
            Order::Found(ids, _) => ids,
            Order::Given(ids, _) => {
                let kept = ids.iter().enumerate().filter(|(place, _)| has_row(place));
                kept.map(|(_, id)| id.clone()).collect()
            }
        };
        let rows = self.rows.into_iter().flatten().collect();
        (ids, Gathered::new(rows, self.shards, row_bytes))
    }
}

/// Reads one row.
fn row_of(rows: &Rows, row: u64, row_bytes: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(row_bytes).unwrap_or(usize::MAX)];
    rows.data.read_at(&mut bytes, rows.start.saturating_add(row.saturating_mul(row_bytes)))?;
    Ok(bytes)
}
