use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::io::commit::{Disk, create_directories, resolve_directory};

/// What the name of the directory of stages' checkpoints ends in; what comes before is the state file's, without its
/// extension.
const STAGES: &str = ".stages";

/// What the name of the lease ends in.
const LOCK: &str = ".lock";

/// Where the files of a pipeline are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    disk: Arc<dyn Disk>,
    base: PathBuf,
    state: PathBuf,
}

impl Place {
    /// Finds the place of a state file, which need not be there.
    ///
    /// # Errors
    ///
    /// The path names no file, or can't be followed.
    pub(super) fn of(disk: Arc<dyn Disk>, state_file: &Path) -> Result<Self, Error> {
        let Some(name) = state_file.file_name() else {
            return Err(Error::usage("a pipeline's state is a file: name one").at(state_file));
        };
        let parent = state_file.parent().unwrap_or(Path::new(""));
        let base = resolve_directory(&*disk, parent)?;
        let named = base.join(name);
        // A link is followed, also to nothing; where its directory isn't there yet, it is no link.
        let state = disk.resolve(&named).unwrap_or(named);
        let base = state.parent().map_or(base, Path::to_owned);
        Ok(Self { disk, base, state })
    }

    /// Makes the directory of the state file, where there is none.
    ///
    /// # Errors
    ///
    /// It can't be made.
    pub(super) fn make(&self) -> Result<(), Error> {
        create_directories(self.disk(), &self.base)
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Returns the disk, to be shared.
    pub(super) fn shared_disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    /// Returns the state file, without symbolic links.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Returns the directory of the state file: relative paths count from here.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Returns the file whose lock is the lease.
    pub(super) fn lock(&self) -> PathBuf {
        let mut name = OsString::from(&self.state);
        name.push(LOCK);
        name.into()
    }

    /// Returns the run whose checkpoints are the finished stages.
    pub(super) fn stages(&self) -> PathBuf {
        let mut name = self.state.file_stem().unwrap_or_default().to_owned();
        name.push(STAGES);
        self.base.join(name)
    }

    /// Returns what the pipeline is called where nobody said: as its state file is.
    pub(super) fn default_name(&self) -> String {
        self.state.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns where a file is that a record names.
    pub(super) fn file(&self, named: &str) -> PathBuf {
        self.base.join(named)
    }

    /// Returns a path as records name it: with no `.` in it, and nothing else changed.
    ///
    /// # Errors
    ///
    /// The path is no text, or names nothing; or what it names holds the state file, whose every change would change it.
    pub(super) fn named(&self, path: &Path) -> Result<String, Error> {
        let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        if self.state.starts_with(self.base.join(&plain)) {
            let message = "it holds the state file of the pipeline, which changes with every stage: name what the stage reads or leaves";
            return Err(Error::usage(message).at(path));
        }
        let text = plain.into_os_string().into_string();
        text.map_err(|_| Error::usage("the state file holds text, and this path is none (UTF-8)").at(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::commit::LocalDisk;

    #[test]
    fn everything_lies_beside_the_state_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let place = Place::of(Arc::new(LocalDisk), &directory.path().join("new/work.v2.json")).unwrap();
        assert_eq!(place.state(), root.join("new/work.v2.json"));
        assert_eq!(place.lock(), root.join("new/work.v2.json.lock"));
        assert_eq!(place.stages(), root.join("new/work.v2.stages"));
        assert_eq!((place.default_name().as_str(), root.join("new").exists()), ("work.v2", false));
        place.make().unwrap();
        assert!(place.base().is_dir());
        for path in ["", "/", ".."] {
            assert!(Place::of(Arc::new(LocalDisk), Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_path_is_named_as_it_was_given() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::of(Arc::new(LocalDisk), &directory.path().join("a/p.json")).unwrap();
        for (path, named) in
            [("x", "x"), ("./x//y/", "x/y"), ("../x", "../x"), ("/x/./y", "/x/y"), ("p.jso", "p.jso")]
        {
            assert_eq!(place.named(Path::new(path)).unwrap(), named);
        }
        for path in ["", ".", "p.json", place.base().to_str().unwrap(), "/"] {
            assert!(place.named(Path::new(path)).is_err(), "{path}");
        }
    }
}
