use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Finding, LISTED};

/// The name and version of the document that says what the ranks of an extraction have saved.
pub const FEATURES_SCHEMA: &str = "ckpt.features/1";

/// The name and version of the document that says what came of an aggregation.
pub const AGGREGATE_SCHEMA: &str = "ckpt.aggregate/1";

/// A shard that is damaged, and counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SetAside {
    /// The shard: `shard_3/batch_7.safetensors`.
    pub shard: String,
    /// Its name now, beside where it was; none where it was only found.
    pub moved_to: Option<String>,
    /// What is wrong with it.
    pub finding: Finding,
}

impl SetAside {
    /// Makes the entry of a shard that was found, and wasn't moved.
    pub fn found(shard: impl Into<String>, finding: Finding) -> Self {
        Self { shard: shard.into(), moved_to: None, finding }
    }
}

/// One file made of all shards, and what was odd about them.
///
/// Of ids only the first few are listed; the counts are of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Aggregated {
    /// Always [`AGGREGATE_SCHEMA`].
    pub schema: String,
    /// The file. In JSON, bytes that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The id of the proof that it carries.
    pub proof: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many shards they came from.
    pub shards: u64,
    /// How many ids of the input have no row.
    pub missing: u64,
    /// The first of them, in the input's order; none where the input's ids weren't given.
    pub missing_ids: Vec<String>,
    /// How many rows are of an id that had one already: the first one counts, by rank and number of its shard.
    pub duplicates: u64,
    /// The first ids that have several rows.
    pub duplicate_ids: Vec<String>,
    /// How many of the duplicates are other bits than the row that counts.
    pub differing: u64,
    /// The first ids of those.
    pub differing_ids: Vec<String>,
    /// How many rows are of ids that the input doesn't have: they are left out.
    pub unlisted: u64,
    /// The first of those ids.
    pub unlisted_ids: Vec<String>,
    /// The shards that are damaged, and were left out.
    pub damaged: Vec<SetAside>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl Aggregated {
    /// Makes the record of a file of which nothing is known yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            schema: AGGREGATE_SCHEMA.to_owned(),
            path: path.into(),
            bytes: 0,
            proof: String::new(),
            rows: 0,
            shards: 0,
            missing: 0,
            missing_ids: Vec::new(),
            duplicates: 0,
            duplicate_ids: Vec::new(),
            differing: 0,
            differing_ids: Vec::new(),
            unlisted: 0,
            unlisted_ids: Vec::new(),
            damaged: Vec::new(),
            elapsed_ms: 0,
        }
    }

    /// Counts an id that has no row.
    pub fn add_missing(&mut self, id: &str) {
        count(&mut self.missing, &mut self.missing_ids, id);
    }

    /// Counts a further row of an id.
    pub fn add_duplicate(&mut self, id: &str) {
        count(&mut self.duplicates, &mut self.duplicate_ids, id);
    }

    /// Counts a further row that has other bits.
    pub fn add_differing(&mut self, id: &str) {
        count(&mut self.differing, &mut self.differing_ids, id);
    }

    /// Counts a row of an id that the input doesn't have.
    pub fn add_unlisted(&mut self, id: &str) {
        count(&mut self.unlisted, &mut self.unlisted_ids, id);
    }

    /// Notes how long it took.
    pub fn took(&mut self, elapsed: Duration) {
        self.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    }
}

/// Counts one, and lists it if it is one of the first.
fn count(number: &mut u64, listed: &mut Vec<String>, id: &str) {
    *number = number.saturating_add(1);
    if listed.len() < LISTED {
        listed.push(id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_listed() {
        let mut aggregated = Aggregated::new("out.safetensors");
        for number in 0..LISTED + 5 {
            aggregated.add_missing(&number.to_string());
        }
        aggregated.add_duplicate("a");
        assert_eq!((aggregated.missing, aggregated.missing_ids.len()), (LISTED as u64 + 5, LISTED));
        assert_eq!((aggregated.duplicates, aggregated.duplicate_ids), (1, vec!["a".to_owned()]));
        assert_eq!((aggregated.differing, aggregated.unlisted), (0, 0));
    }
}
