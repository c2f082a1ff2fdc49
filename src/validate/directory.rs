//! A directory that is one checkpoint.

use std::path::Path;

use super::VerifyOptions;
use super::contents::Checked;
use super::size::missing;
use super::{dcp, managed, names, trainer};
use crate::format::hugging_face::is_trainer_directory;
use crate::format::managed::{RUN_FILE, looks_like_manifest};
use crate::format::read_vec;
use crate::io::{FileSource, ReadAt};
use crate::record::{Code, Finding, FormatKind, Level, Manifest};

/// How much of a manifest is looked at to tell it from other files of its name.
const HEAD_BYTES: u64 = 256;

/// Checks a directory. A managed one, a Trainer's and a distributed one are one checkpoint; of any other the caller is
/// told to name the files.
pub(super) fn check(path: &Path, options: &VerifyOptions) -> Checked {
    let names = match file_names(path) {
        Ok(names) => names,
        Err(error) => {
            let mut checked = Checked::new(FormatKind::Directory, None);
            checked.findings.push(missing(&error));
            return checked;
        }
    };
    if is_managed(path, names.iter().any(|name| name == Manifest::NAME)) {
        return managed::check(path, &names, options);
    }
    if is_trainer_directory(&names) {
        return trainer::check(path, &names, options);
    }
    if dcp::is_distributed(path, names.iter().map(String::as_str)) {
        return dcp::check(path, &names, options);
    }
    let mut checked = Checked::new(FormatKind::Directory, Some(Level::Size));
    let message = "the directory as a whole is no checkpoint";
    checked.findings.push(Finding::incompatible(Code::NotRegular, Level::Size, message));
    checked
}

/// Returns whether a directory is a managed checkpoint: it has a manifest, and the name of a checkpoint or a
/// manifest's first fields; or it has no manifest, and the name and the place of a checkpoint.
///
/// Elsewhere than in a run, a directory without a manifest is what it looks like: files, each to be checked by
/// itself.
pub(super) fn is_managed(path: &Path, has_manifest: bool) -> bool {
    let is_named = names::checkpoint_id(path).is_some();
    if has_manifest {
        is_named || begins_like_manifest(&path.join(Manifest::NAME))
    } else {
        is_named && path.join("../..").join(RUN_FILE).is_file()
    }
}

/// Looks at the first bytes of a file named like a manifest.
fn begins_like_manifest(path: &Path) -> bool {
    let Ok(source) = FileSource::open(path) else { return false };
    read_vec(&source, 0..source.len().min(HEAD_BYTES)).is_ok_and(|head| looks_like_manifest(&head))
}

/// The names in a directory, in order.
pub(super) fn file_names(path: &Path) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
