use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Dropped, FormatKind};
use crate::Dtype;

/// The name and version of the document that says what was salvaged.
pub const SALVAGE_SCHEMA: &str = "ckpt.salvage/1";

/// What was salvaged of a damaged checkpoint, and what wasn't.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Salvaged {
    /// Always [`SALVAGE_SCHEMA`].
    pub schema: String,
    /// The damaged file. In JSON, bytes of a path that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub source: PathBuf,
    /// The file that was written.
    #[serde(with = "super::report::lossy_path")]
    pub destination: PathBuf,
    /// The format of the damaged file.
    pub from: FormatKind,
    /// The format that was written: `safetensors`, `torch`, `torch-flat`.
    pub to: String,
    /// What in the file proves that tensors are intact.
    pub evidence: Evidence,
    /// How many tensors were saved; a shared one counts at every place.
    pub saved: u64,
    /// Those among them that nothing proves, by name.
    pub unproven: Vec<String>,
    /// The tensors that weren't saved, in the order of the file.
    pub missing: Vec<Missing>,
    /// Values that were intact, and that the format which was written can't hold.
    pub dropped: Vec<Dropped>,
    /// What else is to be known of the new file.
    pub notes: Vec<String>,
    /// The size of the file that was written, in bytes.
    pub bytes: u64,
    /// The id of its proof: the digest of the file.
    pub proof: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// What in a file proves that a tensor is as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Evidence {
    /// The digests of a proof whose head is intact.
    Proof,
    /// The digests of a proof whose head is damaged: they prove bytes, and neither names nor shapes.
    DamagedProof,
    /// The CRC-32 of an archive's records.
    Crc32,
    /// Nothing.
    None,
}

impl Evidence {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Proof, Self::DamagedProof, Self::Crc32, Self::None];

    /// Returns the word in documents: `damaged-proof`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::DamagedProof => "damaged-proof",
            Self::Crc32 => "crc32",
            Self::None => "none",
        }
    }
}

/// A tensor that wasn't saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The name: the keys on the way to it, joined by dots.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The length of each dimension.
    pub shape: Vec<u64>,
    /// Why, in words.
    pub reason: String,
}
