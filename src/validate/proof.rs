//! The proof that a file carries: whether its head is the one that was saved.

use std::io;
use std::path::Path;

use super::contents::Checked;
use crate::format::safetensors::{self, Header};
use crate::format::torch::archive::TorchArchive;
use crate::format::{Carried, Flaw, Proven, detect};
use crate::io::{FileSource, ReadAt};
use crate::record::{Code, Finding, FormatKind, Level};

/// Takes up what a file has for a proof. The proof itself goes into `checked`, for the deeper levels.
pub(super) fn take(carried: Carried, checked: &mut Checked) {
    match carried {
        Carried::Nothing => {}
        Carried::Unknown(error) => {
            let message = format!("the file can be used, and not be proven: {error}");
            checked.findings.push(Finding::note(Code::ProofUnknown, Level::Container, message));
        }
        Carried::Proof(proven) => {
            if !proven.is_head_intact() {
                checked.findings.push(other_head());
            }
            checked.proven = Some(proven);
        }
    }
}

/// The finding for a head that hasn't the proof's digest.
pub(super) fn other_head() -> Finding {
    let message = "the head (names, shapes, padding, or the proof itself) isn't the one that was saved: the file \
                   was damaged, or rewritten by another program";
    Finding::corrupted(Code::ProofDamaged, Level::Container, message)
}

/// Returns the proof that a file carries, if its head is the one that was saved. The data isn't looked at.
///
/// ```
/// use ckpt::validate::proof_of;
/// assert!(proof_of(&b"no checkpoint".to_vec()).is_none());
/// ```
pub fn proof_of(source: &dyn ReadAt) -> Option<Proven> {
    read_proof_of(source).ok()?
}

/// As [`proof_of`], for whom it matters that the bytes couldn't be had.
pub(crate) fn read_proof_of(source: &dyn ReadAt) -> io::Result<Option<Proven>> {
    match carried(source) {
        Ok(carried) => Ok(carried.proven().filter(Proven::is_head_intact)),
        Err(Flaw::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        Err(_) => Ok(None),
    }
}

/// Returns the size of the file at `path`, and the id of the proof that it carries, if its head is the one that
/// was saved. Markers and seals beside the file ask for it when they don't fit.
///
/// Both are of one open file: what was known of the path before may be of a file that was replaced since.
pub(super) fn own_size_and_id(path: &Path) -> Option<(u64, String)> {
    let source = FileSource::open(path).ok()?;
    proof_of(&source).map(|proven| (source.len(), proven.proof.id()))
}

/// Returns the id of a proof whose head is the one that was saved.
pub(super) fn id_of(proven: &Proven) -> Option<String> {
    proven.is_head_intact().then(|| proven.proof.id())
}

/// Reads the proof of a file that may be of any format.
fn carried(source: &dyn ReadAt) -> Result<Carried, Flaw> {
    match detect(source)? {
        FormatKind::Safetensors => of_safetensors(source, &safetensors::read_header(source)?),
        FormatKind::Zip => of_archive(source, &TorchArchive::open(source)?),
        _ => Ok(Carried::Nothing),
    }
}

/// Reads the proof of a file whose header was read.
pub(super) fn of_safetensors(source: &dyn ReadAt, header: &Header) -> Result<Carried, Flaw> {
    safetensors::find_proof(source, header)
}

/// Reads the proof of an archive. Only checkpoints have one.
pub(super) fn of_archive(source: &dyn ReadAt, archive: &TorchArchive) -> Result<Carried, Flaw> {
    if archive.kind == FormatKind::TorchZip { archive.find_proof(source) } else { Ok(Carried::Nothing) }
}
