//! The shards that an index names, read cheaply, so that they aren't listed a second time.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// The largest index that is read to learn of its shards. That of the largest public models is a few
/// MiB; of a larger file, the shards are listed as checkpoints of their own.
const INDEX_MAX_BYTES: u64 = 64 << 20;

/// What an `*.index.json` turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// A shard index with these shards, relative to its directory.
    Shards(BTreeSet<String>),
    /// A well-formed document of another kind.
    Foreign,
    /// Malformed, too large, or unreadable: the check will say what is wrong.
    Unknown,
}

/// Reads the names of the shards from an index.
pub(super) fn read(path: &Path) -> Index {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(INDEX_MAX_BYTES + 1).read_to_end(&mut text));
    match read {
        Ok(length) if length as u64 <= INDEX_MAX_BYTES => parse(&text),
        _ => Index::Unknown,
    }
}

/// Reads an index's text.
fn parse(text: &[u8]) -> Index {
    match serde_json::from_slice::<Document>(text) {
        Ok(Document { weight_map: Some(Shards(names)) }) => Index::Shards(names),
        Ok(Document { weight_map: None }) => Index::Foreign,
        Err(_) => Index::Unknown,
    }
}

/// Returns whether a shard's name stays within the index's directory.
///
/// An index has no say over files elsewhere: one that named `../other.pt` could make it disappear
/// from the list.
pub(super) fn stays_inside(name: &str) -> bool {
    Path::new(name).components().all(|component| matches!(component, Component::Normal(_)))
}

/// What is read of an index.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    weight_map: Option<Shards>,
}

/// The distinct values of the map, without its keys: an index has a line per tensor, and few shards.
struct Shards(BTreeSet<String>);

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ShardNames)
    }
}

/// Reads the values of a map and passes over its keys.
struct ShardNames;

impl<'de> Visitor<'de> for ShardNames {
    type Value = Shards;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensor names to shards")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shards, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((IgnoredAny, name)) = map.next_entry::<IgnoredAny, std::borrow::Cow<'de, str>>()? {
            if !names.contains(name.as_ref()) {
                names.insert(name.into_owned());
            }
        }
        Ok(Shards(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distinct_shards_are_read() {
        let text = br#"{"metadata": {"total_size": 3}, "weight_map": {"a": "x-1.bin", "b": "x-2.bin", "c": "x-1.bin"}}"#;
        let shards = ["x-1.bin", "x-2.bin"].map(str::to_owned).into();
        assert_eq!(parse(text), Index::Shards(shards));
    }

    #[test]
    fn another_document_is_foreign_and_a_broken_one_unknown() {
        assert_eq!(parse(br#"{"files": []}"#), Index::Foreign);
        for text in
            [r#"{"weight_map": {"a": 3}}"#, r#"{"weight_map": {"a""#, "", "[1]", r#"{"weight_map": []}"#]
        {
            assert_eq!(parse(text.as_bytes()), Index::Unknown, "{text}");
        }
    }

    #[test]
    fn a_shard_elsewhere_is_not_claimed() {
        assert!(stays_inside("sub/model.bin"));
        for name in ["../model.bin", "/model.bin", "a/../../b.bin"] {
            assert!(!stays_inside(name), "{name}");
        }
    }
}
