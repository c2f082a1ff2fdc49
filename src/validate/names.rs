//! What a file's name promises. It never decides what a file is, only what was meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::format::managed;
use crate::record::{CheckpointId, FormatKind};

/// Returns whether the name is that of a Hugging Face shard index.
pub(super) fn is_shard_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"))
}

/// Returns what the extension promises: PyTorch's or safetensors'.
pub(super) fn promise(path: &Path) -> Option<FormatKind> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "safetensors" => Some(FormatKind::Safetensors),
        "pt" | "pth" | "ckpt" | "bin" => Some(FormatKind::TorchZip),
        _ => None,
    }
}

/// Returns the managed checkpoint whose name a directory has. `.` and `run/main/..` have a name as well.
pub(super) fn checkpoint_id(directory: &Path) -> Option<CheckpointId> {
    let canonical = if directory.file_name().is_none() { directory.canonicalize().ok() } else { None };
    managed::checkpoint_id(canonical.as_deref().unwrap_or(directory).file_name()?.to_str()?)
}

/// Returns the path with a suffix: `model.pt` and `.done` give `model.pt.done`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
