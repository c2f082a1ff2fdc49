use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{FormatKind, TensorInfo};

/// The schema's name and version, the first field of every [`Info`].
pub const INFO_SCHEMA: &str = "ckpt.info/1";

/// What a checkpoint says of itself, read from its structure alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Info {
    /// Always [`INFO_SCHEMA`].
    pub schema: String,
    /// The checkpoint. In JSON, bytes that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub path: PathBuf,
    /// What the content is.
    pub format: FormatKind,
    /// The `version` field of the checkpoint; none where it has none.
    pub version: Option<String>,
    /// The `status` field of the checkpoint (`complete`, `in_progress`), where it has one.
    pub status: Option<String>,
    /// Whether a completion marker (`NAME.done`) stands beside the file.
    pub marker: bool,
    /// The size of all the checkpoint's files.
    pub bytes: u64,
    /// What the file says beside its values: the caller's own metadata and the format's (safetensors' `__metadata__`, a
    /// torch archive's versions), and as `ckpt.position` where in the work it was saved.
    pub metadata: BTreeMap<String, String>,
    /// The tensors, in the file's order.
    pub tensors: Vec<TensorInfo>,
}

impl Info {
    /// Makes an empty record.
    pub(crate) fn new(path: PathBuf, format: FormatKind) -> Self {
        Self {
            schema: INFO_SCHEMA.to_owned(),
            path,
            format,
            version: None,
            status: None,
            marker: false,
            bytes: 0,
            metadata: BTreeMap::new(),
            tensors: Vec::new(),
        }
    }

    /// Returns the size of all tensors' elements, in bytes.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.bytes))
    }
}
