//! The real disk.

mod file;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod system;

pub use file::LocalFile;

use std::io;
use std::path::Path;

/// Removes a file.
#[expect(clippy::disallowed_methods, reason = "this is the place that removals go through")]
fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}
