//! What an extraction of features says of itself: of what, with which model, and what each rank has saved.
//!
//! `docs/features.md` has where these records lie, and who writes them when.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::marker::parse_map;
use super::self_proving::{self, BLANK, is_whole};
use super::{ModelConfig, is_plain};
use crate::digest::{Algorithm, Hasher};

/// The name and version of the record that an extraction's directory has.
pub const EXTRACTION_SCHEMA: &str = "ckpt.extraction/1";

/// The name and version of the record that each rank keeps.
pub const EXTRACTION_RANK_SCHEMA: &str = "ckpt.extraction-rank/1";

/// What an input is told by: the ids that features are to be made of, or the file that they come from.
///
/// ```
/// use ckpt::record::InputFingerprint;
/// let input = InputFingerprint::of_ids(["P12345", "P67890"]);
/// assert_eq!(input.count, 2);
/// assert_ne!(input, InputFingerprint::of_ids(["P67890", "P12345"])); // the order counts
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InputFingerprint {
    /// How many ids there are, or how many bytes.
    pub count: u64,
    /// Which of the two.
    pub of: InputUnit,
    /// Algorithm and digits.
    pub digest: String,
}

/// What an [`InputFingerprint`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputUnit {
    /// The ids, in their order.
    Ids,
    /// The bytes of a file.
    Bytes,
}

impl InputFingerprint {
    /// Takes the fingerprint of ids, in their order.
    pub fn of_ids<I>(ids: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let (mut hasher, mut count) = (Hasher::new(Algorithm::Blake3), 0_u64);
        for id in ids {
            let id = id.as_ref().as_bytes();
            // With its length, so that no two lists have the same bytes.
            hasher.update(&(id.len() as u64).to_le_bytes());
            hasher.update(id);
            count += 1;
        }
        Self { count, of: InputUnit::Ids, digest: digest_text(&hasher) }
    }

    /// Makes the fingerprint of a file of so many bytes, of the digest that was taken of them.
    pub fn of_bytes(bytes: u64, digest: impl Into<String>) -> Self {
        Self { count: bytes, of: InputUnit::Bytes, digest: digest.into() }
    }
}

impl fmt::Display for InputFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.of {
            InputUnit::Ids => "ids",
            InputUnit::Bytes => "bytes",
        };
        write!(f, "{} {unit}, {}", self.count, self.digest)
    }
}

fn digest_text(hasher: &Hasher) -> String {
    format!("{}:{}", Algorithm::Blake3, hasher.finish())
}

/// What holds for an extraction as a whole: `extraction.json`, written once by the worker that comes first.
///
/// It proves itself as a [`Manifest`](super::Manifest) does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExtractionRecord {
    /// Always [`EXTRACTION_SCHEMA`].
    pub schema: String,
    /// The digest of the rest.
    digest: String,
    /// The extraction's name, which its input and its model decide: see [`ExtractionRecord::id_of`].
    pub id: String,
    /// How many workers the one that came first was one of. A later run may have another number.
    pub world_size: u32,
    /// What the features are made of.
    pub input: InputFingerprint,
    /// What they are made with.
    pub model: ModelConfig,
    /// When it began.
    pub created: Timestamp,
    /// Who wrote this: a name and a version.
    pub writer: String,
}

/// What one rank has saved: `shard_N/rank.json`, written by that rank alone, after each shard.
///
/// It proves itself as a [`Manifest`](super::Manifest) does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankRecord {
    /// Always [`EXTRACTION_RANK_SCHEMA`].
    pub schema: String,
    /// The digest of the rest.
    digest: String,
    /// The extraction's name.
    pub extraction: String,
    /// The rank, from 0.
    pub rank: u32,
    /// How many ranks there were when it last worked.
    pub world_size: u32,
    /// Its shards, in the order in which they were saved.
    pub batches: Vec<ShardRecord>,
    /// How many rows they have.
    pub rows: u64,
    /// When it began, the last time.
    pub started: Timestamp,
    /// When this was last written: when it began, after each shard, and at its end.
    pub updated: Timestamp,
    /// Whether it said that it was done, the last time.
    pub finished: bool,
}

/// One shard: a file of ids and rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardRecord {
    /// The file's name, in its rank's directory.
    pub name: String,
    /// Its number, from 0.
    pub batch: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// The id of the proof that it carries.
    pub proof: String,
    /// When it was saved.
    pub saved: Timestamp,
}

impl ShardRecord {
    /// Makes the entry of a shard of this name.
    pub fn new(name: impl Into<String>, batch: u64, saved: Timestamp) -> Self {
        Self { name: name.into(), batch, rows: 0, bytes: 0, proof: String::new(), saved }
    }
}

/// Why a text is no record of an extraction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractionRecordError {
    /// The text is none, or its digest is another than that of its bytes.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
    /// It is of a later version.
    #[error("the record is of the version '{0}', which isn't known here: upgrade ckpt to use the extraction")]
    Newer(String),
}

/// What a record that proves itself has.
trait Proving: Clone + Serialize + DeserializeOwned {
    const SCHEMA: &str;
    fn digest(&mut self) -> &mut String;
    /// Says what a text that is as it was written has, and must not.
    fn fault(&self) -> Option<&'static str>;
}

impl Proving for ExtractionRecord {
    const SCHEMA: &str = EXTRACTION_SCHEMA;

    fn digest(&mut self) -> &mut String {
        &mut self.digest
    }

    fn fault(&self) -> Option<&'static str> {
        (!is_world(self.world_size)).then_some("it has no ranks, or too many")
    }
}

impl Proving for RankRecord {
    const SCHEMA: &str = EXTRACTION_RANK_SCHEMA;

    fn digest(&mut self) -> &mut String {
        &mut self.digest
    }

    fn fault(&self) -> Option<&'static str> {
        if !is_world(self.world_size) || self.rank >= self.world_size {
            return Some("its rank is none");
        }
        (!self.batches.iter().all(|batch| is_plain(&batch.name))).then_some("it names a file elsewhere")
    }
}

/// Returns whether there can be so many ranks.
fn is_world(size: u32) -> bool {
    (1..=ExtractionRecord::MAX_RANKS).contains(&size)
}

impl ExtractionRecord {
    /// The file's name.
    pub const NAME: &str = "extraction.json";

    /// The most ranks that an extraction may have: more than any machine has processes at once.
    pub const MAX_RANKS: u32 = 1 << 16;

    /// A record is far smaller than this, in bytes: a model's configuration is a page of text.
    pub const MAX_BYTES: u64 = 16 << 20;

    /// Makes the record of an extraction that begins at this moment.
    pub fn new(input: InputFingerprint, model: ModelConfig, world_size: u32, created: Timestamp) -> Self {
        Self {
            schema: EXTRACTION_SCHEMA.to_owned(),
            digest: BLANK.to_owned(),
            id: Self::id_of(&input, &model),
            world_size,
            input,
            model,
            created,
            writer: concat!("ckpt/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Returns the name of the extraction of an input with a model: the same wherever and whenever it is made, so
    /// that each shard says by itself what it belongs to.
    pub fn id_of(input: &InputFingerprint, model: &ModelConfig) -> String {
        let text = format!("{input}\n{}", model.hash);
        // Half of the digits tell extractions apart, and are easier to read.
        let digits = Algorithm::Blake3.digest(text.as_bytes()).to_string();
        digits.chars().take(32).collect()
    }

    /// Returns the text: JSON that ends in a newline.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// See [`ExtractionRecordError`]. One of a later version is told from a damaged one.
    pub fn parse(text: &[u8]) -> Result<Self, ExtractionRecordError> {
        parse(text)
    }
}

impl RankRecord {
    /// The file's name, in the rank's directory.
    pub const NAME: &str = "rank.json";

    /// The longest record that is read, in bytes: a shard's entry has some 250, so that 250,000 shards fit.
    pub const MAX_BYTES: u64 = 64 << 20;

    /// Makes the record of a rank that begins at this moment and has saved nothing.
    pub fn new(extraction: impl Into<String>, rank: u32, world_size: u32, started: Timestamp) -> Self {
        Self {
            schema: EXTRACTION_RANK_SCHEMA.to_owned(),
            digest: BLANK.to_owned(),
            extraction: extraction.into(),
            rank,
            world_size,
            batches: Vec::new(),
            rows: 0,
            started,
            updated: started,
            finished: false,
        }
    }

    /// Adds a shard that was saved.
    pub fn add(&mut self, shard: ShardRecord) {
        self.rows = self.rows.saturating_add(shard.rows);
        self.updated = shard.saved;
        self.batches.push(shard);
    }

    /// Keeps only the shards for which this holds.
    pub fn retain(&mut self, is_kept: impl FnMut(&ShardRecord) -> bool) {
        self.batches.retain(is_kept);
        self.rows = self.batches.iter().fold(0, |sum, shard| sum.saturating_add(shard.rows));
    }

    /// Returns the size of its shards, in bytes.
    pub fn bytes(&self) -> u64 {
        self.batches.iter().fold(0, |sum, shard| sum.saturating_add(shard.bytes))
    }

    /// Returns the text: JSON that ends in a newline.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// See [`ExtractionRecordError`]. One of a later version is told from a damaged one.
    pub fn parse(text: &[u8]) -> Result<Self, ExtractionRecordError> {
        parse(text)
    }
}

fn encode<T: Proving>(record: &T) -> String {
    let mut blank = record.clone();
    BLANK.clone_into(blank.digest());
    self_proving::encode(&blank)
}

fn parse<T: Proving>(text: &[u8]) -> Result<T, ExtractionRecordError> {
    /// What of a record is read before anything else.
    #[derive(Deserialize)]
    struct Version {
        schema: String,
    }
    let damaged = ExtractionRecordError::Damaged;
    let version: Version = parse_map(text).ok_or(damaged("it is no JSON object with a schema"))?;
    if version.schema != T::SCHEMA {
        let (stem, _) = T::SCHEMA.split_at(T::SCHEMA.len() - 1);
        let number = version.schema.strip_prefix(stem).unwrap_or_default();
        let is_later = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if is_later {
            ExtractionRecordError::Newer(version.schema)
        } else {
            damaged("it is another document")
        });
    }
    let mut record: T = parse_map(text).ok_or(damaged("a field is missing, or of another type"))?;
    if !is_whole(text, record.digest()) {
        return Err(damaged("its text isn't what its digest was taken of"));
    }
    record.fault().map_or(Ok(record), |fault| Err(damaged(fault)))
}

/// What an extraction has, over all its ranks: their records put together, with what lies in their directories.
///
/// It is read, never written: no two ranks can lose each other's part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExtractionManifest {
    /// What holds for all of it.
    pub extraction: ExtractionRecord,
    /// How many ranks the newest run has: that of the rank which wrote last.
    pub world_size: u32,
    /// The ranks that have a record, in order; each with those of its shards whose files are there.
    pub ranks: Vec<RankRecord>,
    /// The ranks of the newest run that never began.
    pub absent: Vec<u32>,
    /// Shards that no record names, because their rank was killed just then: `shard_3/batch_7.safetensors`. They count
    /// when they verify.
    pub unrecorded: Vec<String>,
    /// The ranks whose record is damaged: their shards are among the unrecorded, and the rank writes a new record when
    /// it comes back.
    pub damaged: Vec<u32>,
}

/// A rank that should have saved something by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StalledRank {
    /// The rank.
    pub rank: u32,
    /// When it last wrote something; for one that never began, when the extraction did.
    pub since: Timestamp,
}

impl ExtractionManifest {
    /// Returns how many shards the records name.
    pub fn shards(&self) -> u64 {
        self.ranks.iter().map(|rank| rank.batches.len() as u64).sum()
    }

    /// Returns how many rows they have.
    pub fn rows(&self) -> u64 {
        self.ranks.iter().fold(0, |sum, rank| sum.saturating_add(rank.rows))
    }

    /// Returns their size in bytes.
    pub fn bytes(&self) -> u64 {
        self.ranks.iter().fold(0, |sum, rank| sum.saturating_add(rank.bytes()))
    }

    /// Returns whether every rank of the newest run has said that it is done.
    pub fn is_finished(&self) -> bool {
        let mut current = self.ranks.iter().filter(|rank| self.is_current(rank));
        self.absent.is_empty() && self.damaged.is_empty() && current.all(|rank| rank.finished)
    }

    /// Returns the ranks of the newest run that haven't finished, and have written nothing for longer than this. A rank
    /// writes after each shard, so that the age should be a few times what a shard takes.
    pub fn stalled(&self, now: Timestamp, age: Duration) -> Vec<StalledRank> {
        let unfinished = self.ranks.iter().filter(|rank| self.is_current(rank) && !rank.finished);
        let unfinished = unfinished.map(|rank| StalledRank { rank: rank.rank, since: rank.updated });
        let since = self.extraction.created;
        let absent = self.absent.iter().map(|rank| StalledRank { rank: *rank, since });
        let is_old = |stalled: &StalledRank| {
            Duration::try_from(now.duration_since(stalled.since)).is_ok_and(|past| past > age)
        };
        let mut stalled: Vec<_> = unfinished.chain(absent).filter(is_old).collect();
        stalled.sort_unstable_by_key(|stalled| stalled.rank);
        stalled
    }

    /// Returns whether a rank is one of the newest run's: an earlier one may have had more.
    pub fn is_current(&self, rank: &RankRecord) -> bool {
        rank.rank < self.world_size
    }
}

impl ExtractionManifest {
    /// Puts records together. `unrecorded` and `damaged` are what was found beside them.
    pub fn new(
        extraction: ExtractionRecord,
        mut ranks: Vec<RankRecord>,
        unrecorded: Vec<String>,
        damaged: Vec<u32>,
    ) -> Self {
        ranks.sort_unstable_by_key(|rank| rank.rank);
        let newest = ranks.iter().max_by_key(|rank| rank.updated);
        let world_size = newest.map_or(extraction.world_size, |rank| rank.world_size);
        let known: HashSet<u32> = ranks.iter().map(|rank| rank.rank).chain(damaged.iter().copied()).collect();
        let absent = (0..world_size).filter(|rank| !known.contains(rank)).collect();
        Self { extraction, world_size, ranks, absent, unrecorded, damaged }
    }
}

#[cfg(test)]
mod tests;
