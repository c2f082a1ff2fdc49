//! What a run holds, at the first look.

use std::io;

use super::{Run, faults};
use crate::Error;
use crate::record::{Artifact, CheckpointId, Code, Finding, Level, Listed, Manifest};

impl Run {
    /// Lists the checkpoints, oldest first: those as well that are unfinished or damaged, with the reason. The
    /// manifests are read, and the artifacts' sizes looked at; their bytes aren't.
    ///
    /// # Errors
    ///
    /// The directory or the pins can't be read. What can't be read of one checkpoint is said in its line.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut pins = self.pins()?;
        let ids = self.ids()?;
        let line = |id: CheckpointId| Listed { pinned: pins.remove(&id), ..self.look_at(id) };
        Ok(ids.into_iter().map(line).collect())
    }

    /// Looks at one checkpoint, and not whether it is pinned.
    fn look_at(&self, id: CheckpointId) -> Listed {
        let listed = Listed::new(id, self.path(id));
        match self.manifest(id) {
            Ok(manifest) => {
                let finding = self.check_sizes(id, &manifest).err().map(|error| finding_of(&error));
                Listed { bytes: manifest.bytes(), manifest: Some(manifest), finding, ..listed }
            }
            Err(error) => Listed { finding: Some(finding_of(&error)), ..listed },
        }
    }

    /// Looks whether all artifacts of a manifest are there, with their sizes.
    ///
    /// # Errors
    ///
    /// One isn't, which [`Error::finding`] says; or it can't be looked at.
    pub fn check_sizes(&self, id: CheckpointId, manifest: &Manifest) -> Result<(), Error> {
        manifest.artifacts.iter().try_for_each(|artifact| self.check_size(id, artifact))
    }

    fn check_size(&self, id: CheckpointId, artifact: &Artifact) -> Result<(), Error> {
        let (directory, name) = (self.path(id), artifact.name.as_str());
        let path = directory.join(name);
        let stat = match self.disk().resolve(&path).and_then(|path| self.disk().stat(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            stat => stat.map_err(|error| Error::io(&path, "look at it", error))?,
        };
        let finding = match stat {
            Some(stat) if stat.is_file && stat.len == artifact.bytes => return Ok(()),
            Some(stat) if stat.is_file => faults::other_size(name, artifact.bytes, stat.len),
            _ => faults::missing(name),
        };
        Err(Error::found(directory, finding))
    }
}

/// Returns what an error says of the bytes, or that it says nothing of them.
fn finding_of(error: &Error) -> Finding {
    let unreadable = || Finding::unreadable(Code::IoError, Level::Size, error.to_string());
    error.finding().cloned().unwrap_or_else(unreadable)
}
