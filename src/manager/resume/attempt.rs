//! One checkpoint: is it what its manifest says, and can it be used?
//!
//! The cheap comes first: the manifest and the sizes, then the proof that the state's file carries. Its bytes are
//! verified by the pass that loads them.

use std::io;
use std::path::{Path, PathBuf};

use super::ResumeOptions;
use crate::digest::{Algorithm, Hasher};
use crate::io::{FileSource, ReadAt};
use crate::manager::Run;
use crate::record::{Artifact, CheckpointId, Code, Finding, Level, Manifest};
use crate::save::{Access, load};
use crate::tensor::State;
use crate::validate::{VerifyOptions, read_proof_of, verify};
use crate::{Error, ErrorKind};

/// How much of a further file is read at once, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Loads a checkpoint, verified as deep as the options say.
///
/// # Errors
///
/// It isn't what its manifest says, or is of no use here, or can't be read.
pub(super) fn load_one(
    run: &Run,
    id: CheckpointId,
    manifest: &Manifest,
    options: &ResumeOptions,
) -> Result<State<'static>, Error> {
    let state = check_all_but_state(run, id, manifest, options)?;
    let is_deep = options.level >= Level::Load;
    let mut how = options.load.clone().with_verify(is_deep);
    if is_deep {
        how = how.with_access(Access::Eager);
    }
    state.check_with(|path| load(path, &how))
}

/// Verifies a checkpoint as deep as the options say, and loads nothing.
///
/// # Errors
///
/// As [`load_one`].
pub(super) fn verify_one(
    run: &Run,
    id: CheckpointId,
    manifest: &Manifest,
    options: &ResumeOptions,
) -> Result<(), Error> {
    let state = check_all_but_state(run, id, manifest, options)?;
    // The keys that a load asks for anyway are the deepest level of a check.
    let asks_for_keys = options.level >= Level::Load && !options.load.require.is_empty();
    let level = if asks_for_keys { Level::Keys } else { options.level };
    let mut how = VerifyOptions::default().with_level(level);
    how.requirements.clone_from(&options.load.require);
    how.allowed_globals.clone_from(&options.load.allowed_globals);
    state.check_with(|path| verified(path, &how))
}

/// Verifies a file.
fn verified(path: &Path, options: &VerifyOptions) -> Result<(), Error> {
    match verify(path, options).reason() {
        None => Ok(()),
        Some(finding) => Err(Error::found(path, finding.clone())),
    }
}

/// The file of a checkpoint's state, whose size is right.
struct StateFile<'m> {
    path: PathBuf,
    artifact: &'m Artifact,
    /// Whether it must carry its proof: not asked for at the level `size`.
    is_proven: bool,
}

impl StateFile<'_> {
    /// Holds the proof against the manifest, and then looks at the rest.
    ///
    /// Without its proof the file is another one, or damaged, whatever the rest says of it.
    fn check_with<T>(&self, check: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Error> {
        let proof = if self.artifact.proven { self.proof()? } else { None };
        let is_own = proof.as_ref() == Some(&self.artifact.digest);
        if proof.is_some() && !is_own && self.is_proven {
            return Err(self.other_proof(proof));
        }
        match check(&self.path) {
            Err(error) if self.artifact.proven && !is_own && error.kind() == ErrorKind::Incompatible => {
                Err(self.other_proof(proof))
            }
            Ok(_) if self.is_proven && !is_own => Err(self.other_proof(proof)),
            result => result,
        }
    }

    /// Returns the id of the proof that the file carries, if its head is intact.
    fn proof(&self) -> Result<Option<String>, Error> {
        let proof = FileSource::open(&self.path).and_then(|source| read_proof_of(&source));
        let proof = proof.map_err(|error| Error::io(&self.path, "read it", error))?;
        Ok(proof.map(|proven| proven.proof.id()))
    }

    /// Says that the file isn't the one that was committed. One whose proof is whole is another checkpoint's: which
    /// of the two is meant is for people to say, and nothing is damaged.
    fn other_proof(&self, proof: Option<String>) -> Error {
        let named = &self.artifact.digest;
        let finding = if let Some(found) = proof {
            let message = format!("the file carries {found}, and the manifest names {named}");
            Finding::incompatible(Code::IndexDisagrees, Level::Container, message)
        } else {
            let message = format!("the file carries no proof, and the manifest names {named}");
            Finding::corrupted(Code::ProofDamaged, Level::Container, message)
        };
        Error::found(&self.path, finding)
    }
}

/// Holds everything against the manifest but the contents of the state's file.
fn check_all_but_state<'m>(
    run: &Run,
    id: CheckpointId,
    manifest: &'m Manifest,
    options: &ResumeOptions,
) -> Result<StateFile<'m>, Error> {
    let directory = run.path(id);
    run.check_sizes(id, manifest)?;
    let Some((artifact, others)) = manifest.artifacts.split_first() else {
        let finding = Finding::corrupted(Code::ArtifactMissing, Level::Size, "the manifest names no state");
        return Err(Error::found(directory, finding.at_file(Manifest::NAME)));
    };
    if options.level >= Level::Load {
        others.iter().try_for_each(|other| check_other(&directory, other))?;
    }
    let is_proven = artifact.proven && options.level >= Level::Container;
    Ok(StateFile { path: directory.join(&artifact.name), artifact, is_proven })
}

/// Verifies a further file of a checkpoint.
fn check_other(directory: &Path, artifact: &Artifact) -> Result<(), Error> {
    let path = directory.join(&artifact.name);
    if artifact.proven {
        let file = StateFile { path, artifact, is_proven: true };
        return file.check_with(|path| verified(path, &VerifyOptions::default()));
    }
    let algorithm = artifact.digest.split_once(':').and_then(|(name, _)| Algorithm::from_name(name));
    let Some(algorithm) = algorithm else {
        let message = "the manifest's digest of it is of a kind that isn't known: upgrade ckpt to verify it";
        return Err(Error::found(path, Finding::incompatible(Code::ProofUnknown, Level::Load, message)));
    };
    let digest = digest_of(&path, algorithm).map_err(|error| Error::io(&path, "read it", error))?;
    if digest == artifact.digest {
        return Ok(());
    }
    let message = format!("its bytes have the digest {digest}, and the manifest names {}", artifact.digest);
    Err(Error::found(path, Finding::corrupted(Code::ChecksumMismatch, Level::Load, message)))
}

/// Returns the digest of a file's bytes, as manifests have it.
fn digest_of(path: &Path, algorithm: Algorithm) -> io::Result<String> {
    let source = FileSource::open(path)?;
    let mut hasher = Hasher::new(algorithm);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < source.len() {
        let rest = usize::try_from(source.len() - offset).unwrap_or(CHUNK_BYTES);
        let part = chunk.split_at_mut(rest.min(CHUNK_BYTES)).0;
        source.read_exact_at(part, offset)?;
        hasher.update(part);
        offset += part.len() as u64;
    }
    Ok(format!("{algorithm}:{}", hasher.finish()))
}
