//! Names of files that belong to another.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Returns the path with a suffix: `model.pt` and `.done` give `model.pt.done`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
