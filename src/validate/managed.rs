//! A managed checkpoint's directory, `step-NUMBER/`: the artifacts, held against the manifest beside them.
//!
//! The manifest says what the checkpoint is, so it is read at the first level already. Then each artifact must
//! be there with its size; one that carries a proof is checked as a file, and its proof must be the one that the
//! manifest names; any other has the digest that the manifest names.
//!
//! Three verdicts need a reason:
//!
//! - A proven file whose proof is whole and **another** than the manifest's is `incompatible`: nothing is
//!   damaged, and files of two checkpoints were mixed. Nobody may resume from that without a look at it.
//! - A directory whose name is that of **another checkpoint** than its manifest's is `incompatible`: the history
//!   goes by names. Under a name that is none in the history (`best`, after a copy) it is as good as before.
//! - **Further files** change nothing: a note says that nothing vouches for them.
//!
//! A marker is never asked for: the directory took its name when all of it was durable.

use std::fs;
use std::path::Path;

use super::contents::Checked;
use super::file::{self, contents_not_checked, flaw_finding};
use super::size::{missing, unreadable};
use super::watched::Watched;
use super::{VerifyOptions, blocks, names, proof};
use crate::digest::{Algorithm, Digest};
use crate::format::{managed, read_vec};
use crate::io::{FileSource, ReadAt, ScanOptions, ScanSource};
use crate::record::{Artifact, Code, Finding, FormatKind, Integrity, Level, Manifest, first_few, quoted};

/// Checks a directory in which `found` are the names.
pub(super) fn check(directory: &Path, found: &[String], options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::Managed, Some(Level::Size));
    match read(directory) {
        Ok(manifest) => {
            checked.findings.extend(check_name(directory, &manifest));
            check_artifacts(directory, &manifest, options, &mut checked);
            checked.bytes += size(&directory.join(Manifest::NAME));
            checked.merge_notes("files");
            let unlisted = managed::unlisted(&manifest, found);
            checked.findings.extend(first_few(unlisted, note_unlisted, "files aren't in the manifest"));
        }
        Err(finding) => checked.findings.push(finding.at_file(Manifest::NAME)),
    }
    checked
}

/// Reads the manifest in a directory.
pub(super) fn read(directory: &Path) -> Result<Manifest, Box<Finding>> {
    let path = directory.join(Manifest::NAME);
    let source = match FileSource::open(&path) {
        Ok(source) => source,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Box::new(uncommitted())),
        Err(error) => return Err(Box::new(unreadable(Level::Size, &error))),
    };
    if source.len() > Manifest::MAX_BYTES {
        let message =
            format!("the manifest has {} bytes; the limit is {}", source.len(), Manifest::MAX_BYTES);
        return Err(Box::new(Finding::incompatible(Code::TooComplex, Level::Size, message)));
    }
    let text = read_vec(&source, 0..source.len())
        .map_err(|error| Box::new(flaw_finding(error.into(), Level::Size)))?;
    managed::read_manifest(&text).map_err(|flaw| Box::new(flaw_finding(flaw, Level::Size)))
}

/// The finding for a checkpoint without a manifest.
fn uncommitted() -> Finding {
    let message = "there is no manifest: the checkpoint was never finished, or its manifest was removed";
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message)
}

/// Holds the directory's name to the manifest, where it is the name of a checkpoint.
fn check_name(directory: &Path, manifest: &Manifest) -> Option<Finding> {
    let named = names::checkpoint_id(directory)?;
    (named != manifest.id).then(|| {
        let message = format!(
            "the directory is named {named}, and its manifest is that of {}: it was renamed, or copied over another",
            manifest.id
        );
        Finding::incompatible(Code::IndexDisagrees, Level::Size, message).at_file(Manifest::NAME)
    })
}

/// Checks each artifact. The first one's contents are those of the checkpoint.
fn check_artifacts(directory: &Path, manifest: &Manifest, options: &VerifyOptions, checked: &mut Checked) {
    let options = VerifyOptions { require_marker: false, ..options.clone() };
    for (number, artifact) in manifest.artifacts.iter().enumerate() {
        let mut part = check_artifact(&directory.join(&artifact.name), artifact, &options);
        if number == 0 {
            checked.contents = part.contents.take();
        }
        checked.absorb(&artifact.name, part);
    }
}

/// Checks one artifact, as deep as its size allows.
fn check_artifact(path: &Path, artifact: &Artifact, options: &VerifyOptions) -> Checked {
    let mut part = Checked::new(FormatKind::Unknown, Some(Level::Size));
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            part.findings.push(missing_artifact(artifact));
        }
        Err(error) => part.findings.push(missing(&error)),
        Ok(metadata) if !metadata.is_file() => {
            let message = "it should be a file, and is none";
            part.findings.push(Finding::incompatible(Code::NotRegular, Level::Size, message));
        }
        Ok(metadata) if metadata.len() != artifact.bytes => {
            part.bytes = metadata.len();
            part.findings.push(other_size(path, artifact, metadata.len()));
        }
        Ok(_) if artifact.proven => return check_proven(path, artifact, options),
        Ok(_) => check_plain(path, artifact, options, &mut part),
    }
    part
}

/// Checks a file that carries a proof, which must be the one that the manifest names.
fn check_proven(path: &Path, artifact: &Artifact, options: &VerifyOptions) -> Checked {
    let mut part = file::check(path, options);
    if part.level > Some(Level::Size) && !part.failed() {
        match &part.proof_id {
            Some(id) if *id == artifact.digest => {}
            Some(_) => part.findings.push(other_proof(Level::Container)),
            None => part.findings.push(no_proof()),
        }
    }
    part
}

/// Checks a file by its digest.
fn check_plain(path: &Path, artifact: &Artifact, options: &VerifyOptions, part: &mut Checked) {
    part.bytes = artifact.bytes;
    if options.skip_contents {
        part.findings.push(contents_not_checked());
    } else if options.level >= Level::Load {
        part.level = Some(Level::Load);
        match digest_of(&artifact.digest).map(|digest| hold_digest(path, digest, options)) {
            Some(Ok(())) => part.integrity = Integrity::Full,
            Some(Err(finding)) => part.findings.push(*finding),
            None => part.findings.push(unknown_digest(artifact)),
        }
    }
}

/// Reads a file through, and holds it against the manifest's digest.
fn hold_digest(path: &Path, expected: Digest, options: &VerifyOptions) -> Result<(), Box<Finding>> {
    let opened = if options.fresh { FileSource::open_fresh(path) } else { FileSource::open(path) };
    let source = opened.map_err(|error| unreadable(Level::Load, &error))?;
    match differs(&Watched::new(&source, options), expected, options)? {
        true if source.changed().unwrap_or(false) => {
            let message = "the file changed while it was checked: check it again";
            Err(Box::new(Finding::unreadable(Code::ChangedWhileRead, Level::Load, message)))
        }
        true => {
            let message = "the bytes aren't those that the manifest was made of";
            Err(Box::new(Finding::corrupted(Code::ChecksumMismatch, Level::Load, message)))
        }
        false => Ok(()),
    }
}

/// Returns whether a file has another digest than is expected of it.
pub(super) fn differs(
    source: &dyn ScanSource,
    expected: Digest,
    options: &VerifyOptions,
) -> Result<bool, Box<Finding>> {
    let (whole, scan) = (vec![0..source.len()], ScanOptions::default().with_threads(options.threads));
    let found = blocks::damaged(source, whole, &[expected], expected.algorithm(), &scan);
    found.map(|damaged| !damaged.is_empty()).map_err(Box::new)
}

/// Reads a digest as manifests have it: `crc64-nvme:ae8b14860a799888`.
pub(super) fn digest_of(text: &str) -> Option<Digest> {
    let (algorithm, digits) = text.split_once(':')?;
    Digest::from_hex(Algorithm::from_name(algorithm)?, digits)
}

/// Returns a file's size; zero where it can't be had.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The finding for an artifact that isn't there.
fn missing_artifact(artifact: &Artifact) -> Finding {
    let message = format!("the artifact {} is missing", quoted(&artifact.name));
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message)
}

/// The finding for an artifact of another size: a damaged one, or a whole one of another checkpoint. A head that
/// doesn't fit its file's size has no proof.
fn other_size(path: &Path, artifact: &Artifact, bytes: u64) -> Finding {
    let own = if artifact.proven { proof::own_size_and_id(path) } else { None };
    if own.is_some_and(|(own_bytes, id)| own_bytes == bytes && id != artifact.digest) {
        return other_proof(Level::Size);
    }
    let message = format!("the file has {bytes} bytes, and the manifest says {}", artifact.bytes);
    Finding::corrupted(Code::SizeMismatch, Level::Size, message)
}

/// The note for a digest that a later version computed.
fn unknown_digest(artifact: &Artifact) -> Finding {
    let message = format!(
        "it can't be proven: the manifest's digest is of no known kind, {}",
        quoted(&artifact.digest)
    );
    Finding::note(Code::ProofUnknown, Level::Load, message)
}

/// The finding for a whole file of another checkpoint.
fn other_proof(level: Level) -> Finding {
    let message = "the file carries another proof than the manifest names: it is of another checkpoint, or was \
                   saved anew";
    Finding::incompatible(Code::IndexDisagrees, level, message)
}

/// The finding for a file that has lost its proof.
fn no_proof() -> Finding {
    let message =
        "the file carries no proof any more, and the manifest names one: another program wrote it anew";
    Finding::corrupted(Code::ProofDamaged, Level::Container, message)
}

/// The note for what somebody put there later.
fn note_unlisted(name: &str) -> Finding {
    let message = format!("{} isn't in the manifest: nothing vouches for it", quoted(name));
    Finding::note(Code::Unlisted, Level::Size, message).at_file(name)
}
