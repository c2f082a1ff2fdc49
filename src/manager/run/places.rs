use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{faults, layout};
use crate::Error;
use crate::io::commit::{Disk, LocalDisk, remove_directory, resolve_directory};
use crate::record::{Artifact, CheckpointId, Finding, Manifest};

/// The branch that a run begins with.
const BRANCH: &str = "main";

/// The directory of a branch that holds a file for each checkpoint that is pinned.
pub(super) const PINS: &str = "pins";

/// The file whose lock a run's writer holds.
pub(super) const LOCK: &str = "lock";

/// A run: the directory in which the checkpoints of one piece of work lie, one directory each.
///
/// It is cheap to clone, and may be used by several threads. What it says is what is there at that moment:
/// another process may save and remove meanwhile.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// use ckpt::State;
/// use ckpt::manager::{CommitOptions, Run, SaveRequest, commit};
/// use ckpt::record::CheckpointId;
///
/// let run = Run::open(&directory.path().join("run"))?;
/// assert!(run.ids()?.is_empty());
///
/// let lock = run.lock()?;
/// let id = CheckpointId { generation: 0, step: 100 };
/// commit(&run, id, None, &SaveRequest::at(100), &State::new(), &CommitOptions::default())?;
/// assert_eq!(run.ids()?, [id]);
/// assert!(run.path(id).join("state.safetensors").is_file());
/// # drop(lock);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Run {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    branch: PathBuf,
}

impl Run {
    /// Opens a run, or the directory where one will be: nothing is made before [`Run::lock`].
    ///
    /// # Errors
    ///
    /// The path can't be followed, or the run is laid out as a later version of ckpt does it.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Self::on(Arc::new(LocalDisk), directory)
    }

    /// As [`Run::open`], on a disk of the caller's: see [`Disk`].
    ///
    /// # Errors
    ///
    /// As [`Run::open`].
    pub fn on(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, Error> {
        let directory = resolve_directory(&*disk, directory)?;
        layout::check(&*disk, &directory.join(layout::NAME))?;
        // The branch may be a link to a larger disk.
        let link = directory.join(BRANCH);
        let branch = resolve_directory(&*disk, &link)?;
        // A link that leads nowhere is as it was, and no directory.
        let stat = disk.stat(&branch).map_err(|error| Error::io(&branch, "look at the branch", error))?;
        if stat.is_some_and(|stat| !stat.is_directory) {
            let message =
                "it is no directory, or a link that leads to nothing: is the disk mounted that it is on?";
            return Err(Error::usage(message).at(link));
        }
        Ok(Self { disk, directory, branch })
    }

    /// Returns the run's directory, without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the directory that the checkpoints' directories are in.
    pub fn branch(&self) -> &Path {
        &self.branch
    }

    /// Returns where a checkpoint is, or would be.
    pub fn path(&self, id: CheckpointId) -> PathBuf {
        self.branch.join(id.to_string())
    }

    /// Returns the disk that the run is on.
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Returns whether there is a run: something was saved here once, or was about to be.
    ///
    /// # Errors
    ///
    /// The directory can't be looked at.
    pub fn is_there(&self) -> Result<bool, Error> {
        let stat = self.disk.stat(&self.branch);
        let stat = stat.map_err(|error| Error::io(&self.branch, "look at the run", error))?;
        Ok(stat.is_some_and(|stat| stat.is_directory))
    }

    /// Returns the names of the checkpoints, oldest first. What has no such name, or is no directory, is none;
    /// what has one may be damaged.
    ///
    /// # Errors
    ///
    /// The directory can't be read. That there is none is no error.
    pub fn ids(&self) -> Result<Vec<CheckpointId>, Error> {
        let failed = |error| Error::io(&self.branch, "list the checkpoints", error);
        let names = match self.disk.list(&self.branch) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut ids = Vec::new();
        for id in names.iter().filter_map(|name| name.to_str()?.parse().ok()) {
            if self.disk.stat(&self.path(id)).map_err(failed)?.is_some_and(|stat| stat.is_directory) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads a checkpoint's manifest.
    ///
    /// # Errors
    ///
    /// There is none, it is damaged, of a later layout, or another checkpoint's: [`Error::finding`] says which.
    /// Or it can't be read.
    pub fn manifest(&self, id: CheckpointId) -> Result<Manifest, Error> {
        let path = self.path(id);
        let found = |finding: Finding| Error::found(&path, finding);
        let text = self.read_manifest(&path)?.ok_or_else(|| found(faults::unfinished()))?;
        let manifest = Manifest::parse(&text).map_err(|error| found(faults::manifest(error)))?;
        if manifest.id != id {
            return Err(found(faults::disagrees(format!("the manifest is that of {}", manifest.id))));
        }
        if !manifest.artifacts.iter().all(Artifact::has_plain_name) {
            return Err(found(faults::disagrees("the manifest names a file elsewhere".to_owned())));
        }
        Ok(manifest)
    }

    /// Reads the text of a manifest; `None` where there is none.
    fn read_manifest(&self, directory: &Path) -> Result<Option<Vec<u8>>, Error> {
        let path = directory.join(Manifest::NAME);
        let failed = |error| Error::io(&path, "read the manifest", error);
        match self.disk.stat(&path).map_err(failed)? {
            Some(stat) if stat.is_file && stat.len <= Manifest::MAX_BYTES => {}
            _ => return Ok(None),
        }
        match self.disk.read(&path, Manifest::MAX_BYTES) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes a checkpoint, and returns whether there was one. It loses its name first, durably: half of it is
    /// never taken for a checkpoint. Whoever removes holds the run's [lock](Run::lock).
    ///
    /// # Errors
    ///
    /// It is pinned; it can't be removed; or it is gone, and not all of its bytes could be deleted.
    pub fn remove(&self, id: CheckpointId) -> Result<bool, Error> {
        let path = self.path(id);
        if self.is_pinned(id)? {
            return Err(Error::usage("it is pinned: take the pin away first").at(path));
        }
        remove_directory(&*self.disk, &path)
    }

    /// Returns whether a checkpoint is pinned.
    fn is_pinned(&self, id: CheckpointId) -> Result<bool, Error> {
        let path = self.branch.join(PINS).join(id.to_string());
        let stat = self.disk.stat(&path).map_err(|error| Error::io(&path, "look for a pin", error))?;
        Ok(stat.is_some())
    }
}
