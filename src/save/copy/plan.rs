use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::format::managed::checkpoint_id;
use crate::validate::{Parts, parts};

/// What goes where: decided as a whole before the first byte is read, so that a copy of many files doesn't end
/// half way for a reason that could have been known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What the copy as a whole is called: a file, a shard index, a directory.
    pub(super) destination: PathBuf,
    /// The directory that is to be made first.
    pub(super) new_directory: Option<PathBuf>,
    /// The files, from and to, in the order in which they take their names.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
}

/// Decides what goes where, and refuses what would lose something. Of the files' contents nothing but an index
/// is read.
///
/// # Errors
///
/// The source isn't there or is no checkpoint; source and destination are one file; something is in the way.
pub(super) fn plan(source: &Path, destination: &Path, overwrite: bool) -> Result<Plan, Error> {
    let Parts { files, others, .. } = parts(source)?;
    if let Some(other) = others.first() {
        let message = "it has more in it than files, and only files are copied: copy the directory with another \
                       program (cp -a), and check the copy with `ckpt verify`";
        return Err(Error::usage(format!("{message} ({})", other.display())).at(source));
    }
    let from: Vec<PathBuf> = files.into_iter().map(|part| part.path).collect();
    let plan = if source.is_dir() {
        to_directory(source, destination, from)?
    } else if from.len() > 1 {
        beside_index(source, destination, from)?
    } else {
        let to = if destination.is_dir() { inside(destination, source)? } else { destination.to_owned() };
        Plan {
            files: from.into_iter().map(|from| (from, to.clone())).collect(),
            destination: to,
            new_directory: None,
        }
    };
    check(&plan, overwrite)?;
    Ok(plan)
}

/// A Trainer's directory, or a managed one: into an existing directory, or as a new one. Its own name says the
/// step, and stays where it is copied into another; a managed one never gets that of another checkpoint.
fn to_directory(source: &Path, destination: &Path, from: Vec<PathBuf>) -> Result<Plan, Error> {
    let to = if destination.is_dir() { inside(destination, source)? } else { destination.to_owned() };
    if is_anothers(source, &to) {
        let message = "it is the name of another checkpoint: a copy keeps its name, or has one of its own";
        return Err(Error::usage(message).at(to));
    }
    let files = into(&to, from)?;
    let new_directory = (!to.is_dir()).then(|| to.clone());
    Ok(Plan { destination: to, new_directory, files })
}

/// Returns whether both names are those of managed checkpoints, and not of the same.
fn is_anothers(source: &Path, to: &Path) -> bool {
    let id = |path: &Path| checkpoint_id(path.file_name()?.to_str()?);
    matches!((id(source), id(to)), (Some(one), Some(other)) if one != other)
}

/// A shard index and its shards, whose names are in the index: into an existing directory.
fn beside_index(source: &Path, destination: &Path, from: Vec<PathBuf>) -> Result<Plan, Error> {
    if !destination.is_dir() {
        let message = "a sharded checkpoint is several files, whose names stay: name an existing directory for \
                       its copy";
        return Err(Error::usage(message).at(destination));
    }
    let files = into(destination, from)?;
    Ok(Plan { destination: inside(destination, source)?, new_directory: None, files })
}

/// Gives files their names in a directory.
fn into(directory: &Path, from: Vec<PathBuf>) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    from.into_iter().map(|from| Ok((from.clone(), inside(directory, &from)?))).collect()
}

/// Returns the path of the same name in a directory.
fn inside(directory: &Path, source: &Path) -> Result<PathBuf, Error> {
    let name = match source.file_name() {
        Some(name) => name.to_owned(),
        // `.` and `runs/..` have a name as well.
        None => fs::canonicalize(source)
            .ok()
            .and_then(|path| Some(path.file_name()?.to_owned()))
            .ok_or_else(|| Error::usage("it has no name to keep: name the copy").at(source))?,
    };
    Ok(directory.join(name))
}

/// Looks whether something is in the way: the source itself, by whatever name, or a file that may not be
/// replaced. A file that comes in the way later is found when the copy takes its name.
fn check(plan: &Plan, overwrite: bool) -> Result<(), Error> {
    let is_many = plan.files.len() > 1;
    for (from, to) in &plan.files {
        if is_same(from, to) {
            return Err(Error::usage("source and destination are the same file").at(to));
        }
        if (is_many || !overwrite) && fs::symlink_metadata(to).is_ok() {
            let message = if is_many {
                "there is a file of this name already, and a checkpoint of several files can't replace another \
                 in one step: copy it to an empty directory"
            } else {
                "there is a file of this name already"
            };
            return Err(Error::usage(message).at(to));
        }
    }
    Ok(())
}

/// Returns whether both paths lead to one file.
#[cfg(unix)]
fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(a), Ok(b)) = (fs::metadata(a), fs::metadata(b)) else { return false };
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Returns whether both paths lead to one file.
#[cfg(not(unix))]
fn is_same(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}
