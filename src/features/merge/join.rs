//! Which rows belong together.

use std::collections::HashSet;

use crate::features::table::Table;

/// What two tables have in common, and what not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Join {
    /// The places of the rows that belong together: in the order of the first table.
    pub(super) rows: Vec<(usize, usize)>,
    /// The ids that only the first table has, in its order.
    pub(super) only_in_a: Vec<String>,
    /// The ids that only the second table has, in its order.
    pub(super) only_in_b: Vec<String>,
    /// The ids that the first table has more than once.
    pub(super) duplicates_in_a: Vec<String>,
    /// The ids that the second table has more than once.
    pub(super) duplicates_in_b: Vec<String>,
}

impl Join {
    /// Joins two tables, as dictionaries of Python would: an id that is there twice keeps its first place and its last
    /// row.
    pub(super) fn of(a: &Table, b: &Table) -> Self {
        let (in_a, duplicates_in_a) = a.last_places();
        let (in_b, duplicates_in_b) = b.last_places();
        let mut join = Self {
            duplicates_in_a: owned(duplicates_in_a),
            duplicates_in_b: owned(duplicates_in_b),
            ..Self::default()
        };
        for id in once(a) {
            match (in_a.get(id), in_b.get(id)) {
                (Some(in_a), Some(in_b)) => join.rows.push((*in_a, *in_b)),
                _ => join.only_in_a.push(id.to_owned()),
            }
        }
        join.only_in_b = owned(once(b).filter(|id| !in_a.contains_key(id)).collect());
        join
    }
}

/// Returns each id once, at its first place.
fn once(table: &Table) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::with_capacity(table.len());
    table.ids().filter(move |id| seen.insert(*id))
}

fn owned(ids: Vec<&str>) -> Vec<String> {
    ids.into_iter().map(str::to_owned).collect()
}
