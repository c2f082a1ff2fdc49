use std::io;
use std::path::Path;
use std::time::Instant;

use super::{Committed, Run, SaveRequest};
use crate::Error;
use crate::digest::Algorithm;
use crate::io::commit::{Durability, StagedDirectory, is_temporary, write_small};
use crate::record::{Artifact, CheckpointId, Manifest, Position, is_plain, quoted};
use crate::save::{Format, SaveOptions, Saved, save_on};
use crate::tensor::State;

/// How [`commit`] goes about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// How the state is saved. The format is safetensors where none is named; the position is the
    /// request's, and there is no marker: the manifest says more.
    pub save: SaveOptions,
}

impl CommitOptions {
    /// Sets how the state is saved.
    #[must_use]
    pub fn with_save(mut self, save: SaveOptions) -> Self {
        self.save = save;
        self
    }

    /// Returns the name of the state's file.
    fn state_name(&self) -> &'static str {
        match self.save.format {
            None | Some(Format::Safetensors) => "state.safetensors",
            Some(Format::Torch | Format::TorchFlat) => "state.pt",
        }
    }
}

/// Saves one checkpoint of a run: the request's files, the state, and the manifest that lists them, staged in a
/// directory of their own that gets the checkpoint's name when all of it is on the disk. Whoever commits holds the
/// run's [lock](Run::lock).
///
/// A checkpoint is never written into again: one that has the name stays as it is.
///
/// # Errors
///
/// There is such a checkpoint; there isn't room for it (the message says how much is needed and how much is free);
/// a file has a name that it can't have; or as [`save`](crate::save()). Then there is no such checkpoint, unless
/// the message says that it has its name by now.
pub fn commit(
    run: &Run,
    id: CheckpointId,
    parent: Option<CheckpointId>,
    request: &SaveRequest,
    state: &State<'_>,
    options: &CommitOptions,
) -> Result<Committed, Error> {
    let start = Instant::now();
    let path = run.path(id);
    check_names(request, options).map_err(|error| error.at(&path))?;
    refuse_existing(run, &path)?;
    check_room(run, &path, request, state)?;
    let staged = StagedDirectory::create(run.disk(), run.branch())?;
    let filled = fill(run, &staged, id, parent, request, state, options);
    let saved = filled.map_err(|error| renamed(error, staged.path(), &path))?;
    staged.commit(&id.to_string(), options.save.durability)?;
    let state = Saved { path: path.join(options.state_name()), ..saved };
    Ok(Committed { id, path, state, notices: Vec::new(), retries: 0, elapsed: start.elapsed() })
}

/// Writes all files of a checkpoint, the manifest last.
fn fill(
    run: &Run,
    staged: &StagedDirectory<'_>,
    id: CheckpointId,
    parent: Option<CheckpointId>,
    request: &SaveRequest,
    state: &State<'_>,
    options: &CommitOptions,
) -> Result<Saved, Error> {
    let durability = options.save.durability;
    let mut manifest = Manifest::new(id);
    manifest.parent = parent;
    manifest.position = request.position.clone().unwrap_or(Position::Step(id.step));
    manifest.metrics =
        request.metrics.iter().filter(|(_, value)| value.is_finite()).map(|(k, v)| (k.clone(), *v)).collect();
    manifest.metadata.clone_from(&request.metadata);
    for (name, bytes) in &request.artifacts {
        write_small(run.disk(), &staged.path().join(name), bytes, durability)?;
        manifest.artifacts.push(Artifact::new(name.as_str(), bytes.len() as u64, digest(bytes)));
    }
    let name = options.state_name();
    let format = options.save.format.unwrap_or(Format::Safetensors);
    let mut save = options.save.clone().with_format(format).with_position(manifest.position.clone());
    save.marker = false;
    let saved = save_on(run.disk(), &staged.path().join(name), state, &save)?;
    let artifact = Artifact::new(name, saved.bytes, saved.proof.id()).with_proof(saved.validated);
    manifest.artifacts.insert(0, artifact);
    write_manifest(run, staged, &manifest, durability)?;
    Ok(saved)
}

fn write_manifest(
    run: &Run,
    staged: &StagedDirectory<'_>,
    manifest: &Manifest,
    durability: Durability,
) -> Result<(), Error> {
    let (text, path) = (manifest.encode(), staged.path().join(Manifest::NAME));
    if text.len() as u64 > Manifest::MAX_BYTES {
        let message =
            format!("the metadata is too long: a manifest has {} bytes at most", Manifest::MAX_BYTES);
        return Err(Error::usage(message).at(path));
    }
    write_small(run.disk(), &path, text.as_bytes(), durability)
}

/// Returns the digest of a file that carries no proof, as manifests have it.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Algorithm::Crc64Nvme.digest(bytes);
    format!("{}:{digest}", digest.algorithm())
}

/// Refuses names that are no file's in a directory, or belong to what ckpt puts there itself.
fn check_names(request: &SaveRequest, options: &CommitOptions) -> Result<(), Error> {
    let is_ours = |name: &str| {
        let name = name.to_ascii_lowercase();
        is_temporary(name.as_ref())
            || [options.state_name(), Manifest::NAME].iter().any(|ours| name.starts_with(ours))
    };
    match request.artifacts.keys().find(|name| !is_plain(name) || is_ours(name)) {
        None => Ok(()),
        Some(name) => Err(Error::usage(format!(
            "{} can't be the name of a further file: choose one without '/', '\\' and ':', that doesn't begin \
             with {} or {}",
            quoted(name),
            options.state_name(),
            Manifest::NAME
        ))),
    }
}

/// Refuses a checkpoint that is there before the work begins; the commit refuses it again, without a gap.
fn refuse_existing(run: &Run, path: &Path) -> Result<(), Error> {
    match run.disk().stat(path) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            Err(Error::usage("there is such a checkpoint, and none is written into again").at(path))
        }
        Err(error) => Err(Error::io(path, "look whether there is such a checkpoint", error)),
    }
}

/// Looks for room before anything is written: half a checkpoint would take that of the rest. Where it isn't known
/// how much there is, writing will show.
fn check_room(run: &Run, path: &Path, request: &SaveRequest, state: &State<'_>) -> Result<(), Error> {
    let files = request.artifacts.values().map(|bytes| bytes.len() as u64);
    let needed = files.fold(state.len_bytes(), u64::saturating_add);
    match run.disk().free_bytes(run.branch()) {
        Ok(free) if free < needed => {
            let doing = format!(
                "save the checkpoint (it needs {needed} bytes, and {free} are free: make room, or save elsewhere)"
            );
            Err(Error::io(path, &doing, io::ErrorKind::StorageFull.into()))
        }
        _ => Ok(()),
    }
}

/// Makes an error about a staged file one about the file that it would have become.
fn renamed(error: Error, staged: &Path, path: &Path) -> Error {
    let inside = error.path().and_then(|at| at.strip_prefix(staged).ok()).map(|name| path.join(name));
    match inside {
        Some(inside) => error.at(inside),
        None => error,
    }
}
