//! Paths of the caller, as a pipeline's state names them.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::exit::Stop;
use crate::error::Error;

/// Returns a path of the caller so that it leads to the same place from the directory of the state file: relative to that
/// where it lies below, so that the whole directory may be moved; absolute elsewhere.
pub(super) fn from_state(state_file: &Path, path: &Path) -> Result<PathBuf, Stop> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error: io::Error| Error::io(path, "find where it is", error))
    };
    let (state_file, path) = (absolute(state_file)?, absolute(path)?);
    // The pipeline counts from where a link leads.
    let base = if state_file.is_symlink() { None } else { state_file.parent() };
    let below =
        base.and_then(|base| path.strip_prefix(base).ok()).filter(|below| !below.as_os_str().is_empty());
    Ok(below.map_or_else(|| path.clone(), Path::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_is_relative() {
        for (path, named) in [
            ("/a/b/c", "c"),
            ("/a/b/c/d", "c/d"),
            ("/a/b/../c", "../c"),
            ("/a/bc", "/a/bc"),
            ("/a/b", "/a/b"),
            ("/x", "/x"),
        ] {
            let found = from_state(Path::new("/a/b/state.json"), Path::new(path)).unwrap();
            assert_eq!(found, Path::new(named), "{path}");
        }
        assert_eq!(from_state(Path::new("state.json"), Path::new("x")).unwrap(), Path::new("x"));
        assert!(from_state(Path::new("w/state.json"), Path::new("x")).unwrap().is_absolute());
    }
}
