//! Rows of many shards as the bytes of one tensor.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::features::extraction::shard::{self, Rows};
use crate::tensor::Source;

/// How many shards are open at once: as many ranks may come in turn, and no system has so few files.
const OPEN_SHARDS: usize = 200;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The number of the shard.
    pub(super) shard: usize,
    /// The row in it.
    pub(super) row: u64,
}

/// The rows, in order. They are read from their shards whenever they are looked at, and not held.
pub(super) struct Gathered {
    rows: Vec<Location>,
    shards: Vec<PathBuf>,
    row_bytes: u64,
    /// The shards that are open, the one that was used last at the end.
    open: Mutex<Vec<(usize, Rows)>>,
}

impl Gathered {
    pub(super) fn new(rows: Vec<Location>, shards: Vec<PathBuf>, row_bytes: u64) -> Self {
        Self { rows, shards, row_bytes, open: Mutex::new(Vec::new()) }
    }

    /// Returns the rows of a shard, which is opened where it isn't.
    fn shard(&self, number: usize) -> Result<Rows, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let there = open.iter().rposition(|(shard, _)| *shard == number);
        let rows = if let Some(at) = there {
            open.remove(at).1
        } else {
            if open.len() >= OPEN_SHARDS {
                open.remove(0);
            }
            let path = self.shards.get(number).ok_or_else(|| Error::usage("there is no such shard"))?;
            shard::open_rows(path)?
        };
        open.push((number, rows.clone()));
        Ok(rows)
    }

    /// Returns the row that is at a place, and how many from there on, of so many, are one behind the other in the same
    /// shard.
    fn run(&self, place: usize, most: usize) -> Option<(Location, u64)> {
        let end = place.saturating_add(most).min(self.rows.len());
        let rows = self.rows.get(place..end)?;
        let first = *rows.first()?;
        let follows = |(at, location): &(u64, &Location)| {
            location.shard == first.shard && first.row.checked_add(*at) == Some(location.row)
        };
        Some((first, (0_u64..).zip(rows).take_while(follows).count() as u64))
    }
}

impl Source for Gathered {
    fn len(&self) -> u64 {
        (self.rows.len() as u64).saturating_mul(self.row_bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let (mut rest, mut offset) = (buffer, offset);
        while !rest.is_empty() {
            let outside = || Error::usage("rows were asked for behind the last one");
            let place = offset.checked_div(self.row_bytes).and_then(|place| usize::try_from(place).ok());
            let within = offset.checked_rem(self.row_bytes).unwrap_or(0);
            let wanted = (rest.len() as u64).saturating_add(within).div_ceil(self.row_bytes.max(1));
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let (first, count) = place.and_then(|place| self.run(place, wanted)).ok_or_else(outside)?;
            let left = count.saturating_mul(self.row_bytes).saturating_sub(within);
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (part, behind) = rest.split_at_mut(length);
            let rows = self.shard(first.shard)?;
            let start = first.row.saturating_mul(self.row_bytes).saturating_add(within);
            rows.data.read_at(part, rows.start.saturating_add(start))?;
            (rest, offset) = (behind, offset.saturating_add(length as u64));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    #[test]
    fn any_part_is_what_it_is_of_the_whole() {
        let shard = |start: u8| Rows { data: Data::from((start..start + 20).collect::<Vec<u8>>()), start: 2 };
        let open = Mutex::new(vec![(0, shard(0)), (1, shard(100))]);
        let order: [(u8, u8); 8] = [(0, 1), (0, 2), (0, 3), (1, 0), (0, 0), (1, 4), (1, 5), (1, 1)];
        let location = |(shard, row): (u8, u8)| Location { shard: shard.into(), row: row.into() };
        let rows = order.map(location).to_vec();
        let bytes = |(shard, row): (u8, u8)| (0..3).map(move |at| shard * 100 + 2 + row * 3 + at);
        let expected: Vec<u8> = order.into_iter().flat_map(bytes).collect();
        let gathered = Gathered { rows, shards: Vec::new(), row_bytes: 3, open };
        assert_eq!(gathered.len(), 24);
        assert!(gathered.bytes().unwrap().is_none(), "nothing is held");
        for start in 0..=24 {
            for end in start..=24 {
                let mut buffer = vec![0; end - start];
                gathered.read_at(&mut buffer, start as u64).unwrap();
                assert_eq!(buffer, expected[start..end], "{start}..{end}");
            }
        }
        for (length, offset) in [(1, 24), (2, 23), (25, 0), (1, u64::MAX)] {
            assert!(gathered.read_at(&mut vec![0; length], offset).is_err(), "{length} from {offset}");
        }
    }

    #[test]
    fn rows_without_bytes_have_none() {
        let rows = vec![Location { shard: 0, row: 0 }];
        let gathered = Gathered::new(rows, Vec::new(), 0);
        assert!(gathered.is_empty() && gathered.read_at(&mut [], 0).is_ok());
        assert!(gathered.read_at(&mut [0], 0).is_err());
    }
}
