//! The list of what makes a checkpoint.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::marker::parse_map;
use super::self_proving::{BLANK, encode, is_whole};
use super::{CheckpointId, Level, Position};

/// The longest name of a file that all common file systems have, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The list of a checkpoint's artifacts, with size and digest: always complete, never a delta. It lies beside
/// them, and is written last.
///
/// It proves itself: the field `digest` is the CRC-64/NVME of its text, taken with the digest's own digits as
/// zeros.
///
/// ```
/// use ckpt::record::{CheckpointId, Manifest};
/// let manifest = Manifest::new(CheckpointId { generation: 0, step: 1200 });
/// let text = manifest.encode();
/// assert_eq!(Manifest::parse(text.as_bytes())?.id, manifest.id);
/// assert!(Manifest::parse(text.replace("1200", "1300").as_bytes()).is_err());
/// # Ok::<(), ckpt::record::ManifestError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of the layout: [`Manifest::LAYOUT`].
    pub layout: u32,
    /// The digest of the rest.
    digest: String,
    /// The checkpoint's name, which is also its directory's.
    pub id: CheckpointId,
    /// Where in the work it was made.
    pub position: Position,
    /// The checkpoint that the work went on from; none for the first.
    pub parent: Option<CheckpointId>,
    /// When it was committed.
    pub created: Timestamp,
    /// Who wrote it: a name and a version.
    pub writer: String,
    /// The files, the state's first.
    pub artifacts: Vec<Artifact>,
    /// What was measured at this position, such as `val_loss`: what the best ones are chosen by.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// The caller's own words.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// The file's name, within the checkpoint's directory.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Algorithm and digits: the id of the proof that it carries, or the digest of its bytes.
    pub digest: String,
    /// Whether the digest is that of its proof.
    pub proven: bool,
    /// How deep it was verified before the checkpoint was committed; none where that was left out.
    pub validated: Option<Level>,
}

impl Artifact {
    /// Makes an entry that wasn't verified.
    pub fn new(name: impl Into<String>, bytes: u64, digest: impl Into<String>) -> Self {
        Self { name: name.into(), bytes, digest: digest.into(), proven: false, validated: None }
    }

    /// Returns whether the name is that of a file in the checkpoint's own directory: a manifest that was made by
    /// others may name anything.
    pub fn has_plain_name(&self) -> bool {
        is_plain(&self.name)
    }

    /// Says that the digest is that of the proof which the file carries, and how deep that was verified.
    #[must_use]
    pub fn with_proof(mut self, validated: Option<Level>) -> Self {
        self.proven = true;
        self.validated = validated;
        self
    }
}

/// Why a text is no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The text is none, or its digest is another than that of its bytes.
    #[error("the manifest is damaged: {0}")]
    Damaged(&'static str),
    /// It is of a later layout.
    #[error("the manifest has layout {0}, and this version of ckpt knows 1: upgrade ckpt to read it")]
    Newer(u64),
}

/// What of a manifest is read before anything else.
#[derive(Deserialize)]
struct Version {
    layout: u64,
}

impl Manifest {
    /// The file's name.
    pub const NAME: &str = "manifest.json";

    /// The version of the layout that is written now.
    pub const LAYOUT: u32 = 1;

    /// A manifest is far smaller than this, in bytes.
    pub const MAX_BYTES: u64 = 16 << 20;

    /// Makes a manifest of no artifacts, of this moment.
    pub fn new(id: CheckpointId) -> Self {
        Self {
            layout: Self::LAYOUT,
            digest: BLANK.to_owned(),
            id,
            position: Position::Step(id.step),
            parent: None,
            created: Timestamp::now(),
            writer: concat!("ckpt/", env!("CARGO_PKG_VERSION")).to_owned(),
            artifacts: Vec::new(),
            metrics: BTreeMap::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Returns whether every artifact that can be verified was read through and verified, before the checkpoint was
    /// committed.
    pub fn was_validated(&self) -> bool {
        self.artifacts.iter().all(|artifact| !artifact.proven || artifact.validated >= Some(Level::Load))
    }

    /// Returns the size of all artifacts, in bytes.
    pub fn bytes(&self) -> u64 {
        self.artifacts.iter().fold(0, |sum, artifact| sum.saturating_add(artifact.bytes))
    }

    /// Returns the text: JSON that ends in a newline.
    pub fn encode(&self) -> String {
        let blank = Self { digest: BLANK.to_owned(), ..self.clone() };
        encode(&blank)
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// See [`ManifestError`]. One of a later layout is told from a damaged one.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let damaged = ManifestError::Damaged;
        let version: Version = parse_map(text).ok_or(damaged("it is no JSON object with a layout"))?;
        if version.layout > u64::from(Self::LAYOUT) {
            return Err(ManifestError::Newer(version.layout));
        }
        let manifest: Self = parse_map(text).ok_or(damaged("a field is missing, or of another type"))?;
        if !is_whole(text, &manifest.digest) {
            return Err(damaged("its text isn't what its digest was taken of"));
        }
        Ok(manifest)
    }
}

/// Returns whether a text is the name of a file and no path, on any system.
pub(crate) fn is_plain(name: &str) -> bool {
    let is_odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && !name.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::new(CheckpointId { generation: 1, step: 1200 });
        manifest.parent = Some(CheckpointId { generation: 0, step: 1000 });
        manifest.created = Timestamp::from_second(1_700_000_000).unwrap();
        let state = Artifact::new("state.safetensors", 4096, "crc64-nvme:ae8b14860a799888");
        manifest.artifacts.push(state.with_proof(Some(Level::Load)));
        manifest.metrics.insert("val_loss".to_owned(), 0.1 + 0.2);
        manifest
    }

    #[test]
    fn it_reads_back_as_it_was_written() {
        let (manifest, text) = (manifest(), manifest().encode());
        let back = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(Manifest { digest: BLANK.to_owned(), ..back.clone() }, manifest);
        assert_eq!(back.encode(), text);
        assert!(back.was_validated() && back.bytes() == 4096);
    }

    #[test]
    fn every_changed_byte_is_found() {
        let text = manifest().encode().into_bytes();
        for at in 0..text.len() {
            for bit in [1_u8, 0x20, 0x80] {
                let mut changed = text.clone();
                changed[at] ^= bit;
                assert!(Manifest::parse(&changed).is_err(), "byte {at}, bit {bit:#x}");
            }
        }
        for len in 0..text.len() {
            assert!(Manifest::parse(&text[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_name_is_no_path() {
        for name in ["state.pt", "a b", "..."] {
            assert!(Artifact::new(name, 0, "").has_plain_name(), "{name}");
        }
        let long = "x".repeat(256);
        for name in ["", ".", "..", "a/b", "/a", "a\\b", "C:a", "a\0", "a\n", &long] {
            assert!(!Artifact::new(name, 0, "").has_plain_name(), "{name:?}");
        }
    }

    #[test]
    fn a_later_layout_is_no_damage() {
        let text = br#"{"layout": 2, "something": "else"}"#;
        assert_eq!(Manifest::parse(text), Err(ManifestError::Newer(2)));
    }
}
