//! What a scrub remembers from one run to the next.
//!
//! A JSON document, `ckpt.scrub-memory/1`: the checkpoints by their path relative to the directory, each
//! with what was true of it when it was last read. Only what was read through gets a time of verification,
//! and only for the state of the files that was read: see [`Entry::stamp`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};

use crate::record::{Level, Verdict};

/// The schema's name and version.
const SCHEMA: &str = "ckpt.scrub-memory/1";

/// What the names of all versions of the schema begin with.
const SCHEMA_STEM: &str = "ckpt.scrub-memory/";

/// The longest memory that is read: an entry has some 200 bytes, so that a million checkpoints fit.
pub(super) const MAX_BYTES: u64 = 512 << 20;

/// What must not stand in a path as it is: `%` begins an escape. Bytes above 127 are always escaped.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The memory of one directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Always `ckpt.scrub-memory/1`.
    schema: String,
    /// The checkpoints, by [`key`].
    #[serde(rename = "checkpoints")]
    entries: BTreeMap<String, Entry>,
}

/// What is remembered of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The digest of names, sizes, times of modification and inodes of its files.
    pub stamp: String,
    /// When it was last read through; none where that never came to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Timestamp>,
    /// When a check of it last ended, whatever came of it.
    pub tried: Timestamp,
    /// How deep it was checked.
    pub level: Level,
    /// What it was found to be.
    pub verdict: Verdict,
    /// The digest of all its bytes, where nothing that it carries vouches for each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
}

/// Why a text is no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is damaged, or something else.
    Damaged(String),
    /// A later version of this program wrote it.
    Newer(String),
}

impl Default for Memory {
    fn default() -> Self {
        Self { schema: SCHEMA.to_owned(), entries: BTreeMap::new() }
    }
}

impl Memory {
    /// Reads a memory's text.
    ///
    /// # Errors
    ///
    /// See [`Unread`].
    pub fn parse(text: &[u8]) -> Result<Self, Unread> {
        #[derive(Deserialize)]
        struct Version {
            schema: String,
        }
        let damaged = |error: serde_json::Error| Unread::Damaged(error.to_string());
        let version: Version = serde_json::from_slice(text).map_err(damaged)?;
        match version.schema.as_str() {
            SCHEMA => serde_json::from_slice(text).map_err(damaged),
            other if other.starts_with(SCHEMA_STEM) => Err(Unread::Newer(other.to_owned())),
            _ => Err(Unread::Damaged("it is another document".to_owned())),
        }
    }

    /// Returns the text, an entry to a line.
    pub fn encode(&self) -> String {
        let mut text = format!("{{\"schema\":\"{}\",\"checkpoints\":{{", self.schema);
        let mut separator = "\n";
        for (key, entry) in &self.entries {
            let pair = (serde_json::to_string(key), serde_json::to_string(entry));
            // Neither has anything that JSON can't hold.
            let (Ok(key), Ok(entry)) = pair else { continue };
            text.push_str(separator);
            text.push_str(&key);
            text.push(':');
            text.push_str(&entry);
            separator = ",\n";
        }
        text.push_str("\n}}\n");
        text
    }

    /// Returns what is remembered of a checkpoint.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Remembers a checkpoint, in place of what was remembered of it.
    pub fn set(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// Forgets what `is_gone` says is gone, and returns how many that were.
    pub fn forget(&mut self, mut is_gone: impl FnMut(&str) -> bool) -> u64 {
        let before = self.entries.len();
        self.entries.retain(|key, _| !is_gone(key));
        (before - self.entries.len()) as u64
    }
}

/// Returns the name under which a checkpoint is remembered: its path relative to the directory, with `%`,
/// control characters and all that isn't ASCII as `%XX`, so that any path survives.
pub fn key(directory: &Path, path: &Path) -> String {
    let path = path.strip_prefix(directory).unwrap_or(path);
    percent_encode(path.as_os_str().as_encoded_bytes(), ESCAPED).to_string()
}

/// Returns the path of a name, below the directory.
pub fn path_of(directory: &Path, key: &str) -> PathBuf {
    directory.join(os_string(percent_decode_str(key).collect()))
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::save::scrub) fn entry(stamp: &str, verified: Option<i64>) -> Entry {
        let time = |second| Timestamp::from_second(second).unwrap();
        Entry {
            stamp: stamp.to_owned(),
            verified: verified.map(time),
            tried: time(verified.unwrap_or(0)),
            level: Level::Load,
            verdict: Verdict::Valid,
            contents: None,
        }
    }

    #[test]
    fn a_memory_is_read_back() {
        let mut memory = Memory::default();
        assert_eq!(Memory::parse(memory.encode().as_bytes()), Ok(memory.clone()));
        memory.set("a.pt".into(), entry("1", Some(5)));
        memory.set("b \"%25\".pt".into(), Entry { contents: Some("crc:1".into()), ..entry("2", None) });
        let text = memory.encode();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(Memory::parse(text.as_bytes()), Ok(memory));
    }

    #[test]
    fn damage_is_told_from_a_later_version() {
        let mut memory = Memory::default();
        memory.set("a.pt".into(), entry("1", Some(5)));
        let text = memory.encode();
        for end in 0..text.trim_end().len() {
            assert!(matches!(Memory::parse(&text.as_bytes()[..end]), Err(Unread::Damaged(_))), "{end}");
        }
        for text in ["{}", "[]", "null", "{\"schema\":\"ckpt.report/1\"}", "\0\0\0"] {
            assert!(matches!(Memory::parse(text.as_bytes()), Err(Unread::Damaged(_))), "{text}");
        }
        let later = Memory::parse(b"{\"schema\":\"ckpt.scrub-memory/2\",\"more\":[]}");
        assert_eq!(later, Err(Unread::Newer("ckpt.scrub-memory/2".into())));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut memory = Memory::default();
        memory.set("a".into(), entry("1", None));
        memory.set("b".into(), entry("1", None));
        assert_eq!(memory.forget(|key| key == "a"), 1);
        assert!(memory.get("a").is_none() && memory.get("b").is_some());
    }

    #[cfg(unix)]
    mod paths {
        use proptest::prelude::*;

        use super::super::*;

        proptest! {
            #[test]
            fn every_path_survives(name in prop::collection::vec(1..=255_u8, 1..40)) {
                // Not what would lead elsewhere, or be written otherwise.
                prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
                let path = Path::new("runs").join(os_string(name));
                let key = key(Path::new("runs"), &path);
                prop_assert!(key.is_ascii() && !key.contains('\n'));
                prop_assert_eq!(path_of(Path::new("runs"), &key), path);
            }
        }
    }
}
