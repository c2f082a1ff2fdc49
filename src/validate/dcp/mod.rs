//! A directory of `torch.distributed.checkpoint` (DCP): the metadata, every shard, every item.
//!
//! The metadata says what the checkpoint is, so it is read at the first level already (`described`). Then every
//! shard must be there and reach as far as its items do (`shards`); every item is opened and read as the file that
//! it would be alone, against its checksums or its proof, and must hold the chunk that the metadata says (`items`).
//!
//! Where a save into a directory that held a checkpoint was broken off, PyTorch's reader takes the old metadata and
//! whatever the shards are now. What can tell:
//!
//! - **Metadata under its temporary name** is there once all shards were written: beside other metadata it makes the
//!   checkpoint `incompatible`, because nothing is damaged and files of two saves were mixed; alone, the
//!   save was never finished.
//! - **An item that is whole and another** than the metadata says is `incompatible` for the same reason.
//! - **A shard that is younger than the metadata** gets a note and no verdict: a copy may have given the files
//!   new times.
//!
//! A completion marker is never asked for: the metadata is written last.
//!
//! The records of an item have checksums, PyTorch's metadata has none: which bytes are which tensor's is proven by the
//! metadata's seal alone, as ckpt writes one. Without it the integrity is `partial` at best.

mod described;
mod items;
mod shards;
mod spread;

use std::path::Path;

pub(super) use described::inspect;
use described::{Described, read};

use super::VerifyOptions;
use super::contents::Checked;
use super::directory::file_names;
use super::file::contents_not_checked;
use crate::format::dcp::{METADATA, Role, looks_like_metadata};
use crate::format::hugging_face::is_trainer_directory;
use crate::format::read_vec;
use crate::io::{FileSource, ReadAt};
use crate::record::{Code, Finding, FormatKind, Integrity, Level, first_few, quoted};

/// How much of a metadata file is looked at to tell it from other files of its name.
const HEAD_BYTES: u64 = 128;

/// Returns whether a directory with files of these names is a distributed checkpoint: by its shards, or by metadata
/// that is meant as such.
pub(super) fn is_distributed<'n>(directory: &Path, names: impl IntoIterator<Item = &'n str>) -> bool {
    let mut described = false;
    for name in names {
        match Role::of(name) {
            Role::Shard => return true,
            Role::Metadata(_) => described = described || begins_like_metadata(&directory.join(name)),
            Role::Unfinished | Role::Other => {}
        }
    }
    described
}

/// Returns the names in a directory, where it is a distributed checkpoint and nothing before that: a managed one is
/// asked for first, and so is a Trainer's.
pub(super) fn names_of(directory: &Path) -> Option<Vec<String>> {
    let names = file_names(directory).ok()?;
    let is_other = is_trainer_directory(&names);
    (!is_other && is_distributed(directory, names.iter().map(String::as_str))).then_some(names)
}

/// Looks at the first bytes of a file that is called `.metadata`.
fn begins_like_metadata(path: &Path) -> bool {
    let Ok(source) = FileSource::open(path) else { return false };
    read_vec(&source, 0..source.len().min(HEAD_BYTES)).is_ok_and(|head| looks_like_metadata(&head))
}

/// Checks a file that was named by itself, where it is a part of a distributed checkpoint. The metadata stands for the
/// whole, as an index does; a shard alone can't be told from a damaged archive.
pub(super) fn check_part(path: &Path, options: &VerifyOptions) -> Option<Checked> {
    let role = Role::of(path.file_name()?.to_str()?);
    if !matches!(role, Role::Metadata(_) | Role::Shard) {
        return None;
    }
    let parent = path.parent()?;
    let directory = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let names = names_of(directory)?;
    if role != Role::Shard {
        return Some(check(directory, &names, options));
    }
    let mut checked = Checked::new(FormatKind::TorchDistributed, Some(Level::Size));
    checked.bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let message = "a part of a torch.distributed checkpoint, which is checked as a whole: name its directory";
    checked.findings.push(Finding::incompatible(Code::ForeignFormat, Level::Size, message));
    Some(checked)
}

/// Checks a directory in which `names` are the files.
pub(super) fn check(directory: &Path, names: &[String], options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::TorchDistributed, Some(Level::Size));
    match read(directory, names, options) {
        Ok(described) => {
            checked.findings.extend(mixed(names));
            check_described(directory, &described, options, &mut checked);
            let unlisted = described.unlisted(names);
            checked.findings.extend(first_few(unlisted, note_unlisted, "files aren't in the metadata"));
            checked.contents = Some(described.contents());
        }
        Err(findings) => {
            let size = |name: &String| std::fs::metadata(directory.join(name)).map_or(0, |file| file.len());
            checked.bytes = names.iter().filter(|name| Role::of(name) != Role::Other).map(size).sum();
            checked.findings.extend(findings);
        }
    }
    checked
}

/// Checks what the metadata describes, level by level.
fn check_described(directory: &Path, described: &Described, options: &VerifyOptions, checked: &mut Checked) {
    checked.bytes = described.bytes;
    checked.findings.extend(described.findings.iter().cloned());
    let shards = described.shards();
    let (found, sound) = shards::check(directory, shards, described.modified);
    checked.bytes += found.bytes;
    checked.findings.extend(found.findings);
    if options.skip_contents {
        checked.findings.push(contents_not_checked());
    } else if options.level > Level::Size {
        checked.level = Some(options.level.min(Level::Load));
        let parts = items::check(directory, &sound, options);
        for (shard, part) in sound.iter().zip(parts) {
            checked.absorb(shard.name, part);
        }
        if !described.is_sealed {
            // The items are proven, and not that they are those of this checkpoint.
            checked.integrity = checked.integrity.min(Integrity::Partial);
        }
        checked.merge_notes("items");
    }
}

/// Metadata beside metadata of a save that wasn't finished.
fn mixed(names: &[String]) -> Option<Finding> {
    let name = names.iter().find(|name| Role::of(name) == Role::Unfinished)?;
    let message = format!(
        "{} lies beside the metadata: a later save into this directory was broken off when its shards were written, \
         so that they aren't those of the metadata",
        quoted(name)
    );
    Some(Finding::incompatible(Code::IndexDisagrees, Level::Size, message).at_file(name))
}

/// The findings for shards without metadata.
fn unfinished(names: &[String]) -> Finding {
    let message = match names.iter().find(|name| Role::of(name) == Role::Unfinished) {
        Some(name) => {
            format!("there is no {METADATA}, and {} is: the save ended before it was finished", quoted(name))
        }
        None => format!("there is no {METADATA}: the save was never finished, or its metadata was removed"),
    };
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message)
}

/// The note for a shard, or metadata, that the checkpoint isn't made of.
fn note_unlisted(name: &String) -> Finding {
    let message = format!("{} isn't in the metadata: nothing of the checkpoint lies in it", quoted(name));
    Finding::note(Code::Unlisted, Level::Size, message).at_file(name)
}
