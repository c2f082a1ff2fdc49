//! From paths to the list of checkpoints to check.
//!
//! A file that is named is always checked. In a directory, these are candidates:
//!
//! - files with a checkpoint's extension, whatever is in them: a damaged checkpoint must not vanish
//!   from the list for no longer looking like one;
//! - shard indexes (`*.index.json`), which stand for their shards;
//! - directories of managed checkpoints, which stand for all that is in them;
//! - directories of a Hugging Face Trainer, which stand for the files that the Trainer writes, and of
//!   `torch.distributed.checkpoint`;
//! - with [`Look::Contents`], every other file that begins like a checkpoint.
//!
//! Passed over: hidden files and directories, temporary files, completion markers, seals, the
//! failure log, and the `blobs` of a Hugging Face cache, whose `snapshots` link to them. A symbolic
//! link to a file is followed; one to a directory only where it is named, so that no walk is endless
//! and none leaves the tree.
//!
//! The list is in path order (component by component), however the file system orders its entries.

mod listing;
mod names;
mod shards;
mod sniff;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::listing::{Entry, Kind, Listing};
use self::shards::Index;
use super::dcp::is_distributed;
use super::directory::is_managed;
use crate::error::Error;
use crate::format::dcp;
use crate::format::hugging_face::{Role, checkpoint_step, is_trainer_directory};
use crate::record::{Code, Finding, Level, Manifest, Marker, Seal};

pub(crate) use self::names::FAILURE_LOG;

/// How candidates are told from other files in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// By name, and by the first bytes of those whose name says nothing.
    #[default]
    Contents,
    /// By name alone: no file but a shard index, a manifest or distributed metadata is opened, and none is asked for its size. The
    /// fast path.
    Names,
}

/// A checkpoint to check: a file, or a directory that is one as a whole.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The file or directory.
    pub path: PathBuf,
    /// The directory that was named, or the one that holds the named file.
    pub root: Arc<Path>,
    /// The size of all its files, as far as it was asked for: what the check will cost.
    pub bytes: u64,
    /// Set where the path can't even be looked at: the report, in place of a check.
    pub(super) problem: Option<Box<Finding>>,
    /// Set where the directory's listing shows a regular file with neither marker nor seal.
    pub(super) is_alone: bool,
}

impl Candidate {
    /// Makes a candidate of a path, without a look at it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let root = path.parent().unwrap_or_else(|| Path::new("")).into();
        Self { path, root, bytes: 0, problem: None, is_alone: false }
    }
}

/// What was found at the named paths.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The checkpoints, in path order, none twice.
    pub candidates: Vec<Candidate>,
    /// Named directories that are themselves the problem: missing, unreadable, nothing found.
    pub problems: Vec<Error>,
}

/// Finds the checkpoints at `paths`.
///
/// A directory below a named one that can't be listed becomes a candidate whose report is
/// `unreadable`; it never stops the rest.
pub fn discover<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>, look: Look) -> Discovery {
    let mut walk = Walk { look, found: Discovery::default(), claimed: HashSet::new() };
    let mut named = 0;
    for path in paths {
        walk.named(path.as_ref());
        named += 1;
    }
    let mut found = walk.found;
    if named > 1 {
        found.candidates.sort_by(|a, b| a.path.cmp(&b.path));
        found.candidates.dedup_by(|a, b| a.path == b.path);
    }
    found
}

/// The walk over the named paths, and what it found so far.
struct Walk {
    /// How to tell candidates.
    look: Look,
    /// What was found so far.
    found: Discovery,
    /// Shards of an index, as full paths: the index stands for them.
    claimed: HashSet<PathBuf>,
}

impl Walk {
    /// Takes up a path that was named: a directory is searched, anything else is a candidate.
    fn named(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.named_directory(path),
            Ok(metadata) => {
                self.found.candidates.push(Candidate { bytes: metadata.len(), ..Candidate::new(path) });
            }
            // A name that promises a file: its report says that it is missing.
            Err(_) if path.file_name().is_some_and(promises_file) => {
                self.found.candidates.push(Candidate::new(path));
            }
            Err(error) => self.found.problems.push(Error::io(path, "look at it", error)),
        }
    }

    /// Searches a named directory. That it can't be listed, or holds nothing, is its own problem.
    fn named_directory(&mut self, path: &Path) {
        let before = self.found.candidates.len();
        match Listing::read(path) {
            Ok(listing) => self.directory(path, &Arc::from(path), listing),
            Err(error) => return self.found.problems.push(Error::io(path, "list the directory", error)),
        }
        if self.found.candidates.len() == before {
            self.found.problems.push(Error::nothing(path, "no checkpoint found in this directory"));
        }
    }

    /// Searches a directory: its files and subdirectories in the order of their names.
    fn directory(&mut self, path: &Path, root: &Arc<Path>, mut listing: Listing) {
        if let Some(error) = listing.broken.take() {
            self.unreadable(path, root, &error);
        }
        if is_managed(path, listing.has(Manifest::NAME)) {
            return self.push_whole(path, root, &listing, |_| true);
        }
        let part = whole(path, &listing);
        if let Some(part) = part {
            self.push_whole(path, root, &listing, part);
        }
        let claims = |name: &OsStr| part.is_some_and(|part| part(name));
        let indexes = self.claim_shards(path, &listing);
        let place = Place { directory: path, root, listing: &listing, indexes };
        let has_snapshots = listing.has("snapshots");
        for entry in &listing.entries {
            if entry.kind == Kind::Directory {
                let is_cache = has_snapshots && entry.name == "blobs";
                if !names::is_hidden(&entry.name) && !is_cache {
                    self.subdirectory(&path.join(&entry.name), root);
                }
            } else if !claims(&entry.name) && !names::is_passed_over(&entry.name) {
                self.file(&place, entry);
            }
        }
    }

    /// Searches a directory below a named one.
    fn subdirectory(&mut self, path: &Path, root: &Arc<Path>) {
        match Listing::read(path) {
            Ok(listing) => self.directory(path, root, listing),
            Err(error) => self.unreadable(path, root, &error),
        }
    }

    /// Puts a directory that can't be listed among the candidates, so that it is reported in its place.
    fn unreadable(&mut self, path: &Path, root: &Arc<Path>, error: &io::Error) {
        let message = format!("can't list the directory: {error}");
        let finding = Finding::unreadable(Code::IoError, Level::Size, message);
        self.found.candidates.push(Candidate {
            root: Arc::clone(root),
            problem: Some(Box::new(finding)),
            ..Candidate::new(path)
        });
    }

    /// Makes a directory a candidate, with the files that `part` tells.
    fn push_whole(&mut self, path: &Path, root: &Arc<Path>, listing: &Listing, part: fn(&OsStr) -> bool) {
        let parts = listing.entries.iter().filter(|entry| part(&entry.name));
        let bytes = match self.look {
            Look::Names => 0,
            Look::Contents => parts.map(|entry| size(&path.join(&entry.name))).sum(),
        };
        self.found.candidates.push(Candidate { root: Arc::clone(root), bytes, ..Candidate::new(path) });
    }

    /// Claims the shards of this directory's indexes, and returns those of them that are candidates.
    fn claim_shards<'a>(&mut self, path: &Path, listing: &'a Listing) -> Indexes<'a> {
        let mut indexes = Indexes::default();
        for entry in listing.entries.iter().filter(|entry| entry.kind.may_be_file()) {
            if names::is_passed_over(&entry.name) || !names::is_index(&entry.name) {
                continue;
            }
            let mut bytes = 0;
            match shards::read(&path.join(&entry.name)) {
                Index::Shards(shards) => {
                    for shard in shards.into_iter().filter(|name| shards::stays_inside(name)) {
                        let shard = path.join(shard);
                        bytes += if self.look == Look::Contents { size(&shard) } else { 0 };
                        self.claimed.insert(shard);
                    }
                }
                // What the name promises and the content doesn't keep is for the check to tell.
                Index::Foreign | Index::Unknown if names::promises_index(&entry.name) => {}
                Index::Foreign | Index::Unknown => continue,
            }
            indexes.0.push((&entry.name, bytes));
        }
        indexes
    }

    /// Decides on an entry that is no directory.
    fn file(&mut self, place: &Place<'_>, entry: &Entry) {
        let shard_bytes = place.indexes.shard_bytes(&entry.name);
        let is_named_so = shard_bytes.is_some() || names::is_checkpoint(&entry.name);
        if !is_named_so && (self.look == Look::Names || !entry.kind.may_be_file()) {
            return;
        }
        let path = place.directory.join(&entry.name);
        if !self.claimed.is_empty() && self.claimed.contains(&path) {
            return;
        }
        let metadata = self.metadata(&path, entry.kind);
        // A link to a directory is not followed; a broken one with a checkpoint's name is reported.
        let is_candidate = metadata.as_ref().map_or(is_named_so, |metadata| {
            !metadata.is_dir()
                && (is_named_so || (metadata.is_file() && sniff::is_checkpoint(&path, metadata.len())))
        });
        if is_candidate {
            self.found.candidates.push(Candidate {
                path,
                root: Arc::clone(place.root),
                bytes: metadata.map_or(0, |metadata| metadata.len()) + shard_bytes.unwrap_or(0),
                problem: None,
                is_alone: entry.kind == Kind::File
                    && shard_bytes.is_none()
                    && !place.listing.has_companion(&entry.name),
            });
        }
    }

    /// Asks for what is behind a name; on the fast path only where the listing doesn't say it.
    fn metadata(&self, path: &Path, kind: Kind) -> Option<fs::Metadata> {
        let is_needed = self.look == Look::Contents || kind == Kind::Link;
        if is_needed { fs::metadata(path).ok() } else { None }
    }
}

/// A directory on the walk.
struct Place<'a> {
    directory: &'a Path,
    root: &'a Arc<Path>,
    listing: &'a Listing,
    indexes: Indexes<'a>,
}

/// The shard indexes of a directory by name, with the size of their shards in bytes.
#[derive(Default)]
struct Indexes<'a>(Vec<(&'a OsStr, u64)>);

impl Indexes<'_> {
    /// Returns the size of an index's shards; none where the file is no index.
    fn shard_bytes(&self, name: &OsStr) -> Option<u64> {
        let index = self.0.binary_search_by(|(index, _)| (*index).cmp(name)).ok()?;
        self.0.get(index).map(|(_, bytes)| *bytes)
    }
}

/// Whether a path that isn't there was meant as a file.
fn promises_file(name: &OsStr) -> bool {
    names::is_checkpoint(name) || names::is_index(name)
}

/// Returns a file's size; zero where it can't be asked for, as its check will say.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Returns, for a directory that is one checkpoint, which of its files belong to it.
fn whole(path: &Path, listing: &Listing) -> Option<fn(&OsStr) -> bool> {
    if is_trainer(path, listing) {
        return Some(is_trainer_part);
    }
    let names = listing.entries.iter().filter(|entry| entry.kind.may_be_file());
    is_distributed(path, names.filter_map(|entry| entry.name.to_str())).then_some(is_distributed_part)
}

/// The files that the check of a distributed checkpoint reads. Others, such as the `meta.pt` that a trainer puts
/// beside them, are listed on their own.
fn is_distributed_part(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| dcp::Role::of(name) != dcp::Role::Other)
}

/// A Trainer's directory, as the check of directories takes it: by the names of its files.
///
/// `trainer_state.json` alone also lies in a run's own directory, above the `checkpoint-N/`.
fn is_trainer(path: &Path, listing: &Listing) -> bool {
    let names: Vec<String> =
        listing.entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    let is_named = || path.file_name().and_then(OsStr::to_str).and_then(checkpoint_step).is_some();
    let has_parts = || {
        let mut roles = names.iter().map(|name| Role::of(name));
        roles.any(|role| !matches!(role, Role::TrainerState | Role::Engine | Role::Other))
    };
    is_trainer_directory(&names) && (has_parts() || is_named())
}

/// The files that the check of a Trainer's directory reads. Those of an engine (`DeepSpeed`, FSDP) it
/// doesn't: they are listed on their own, where they look like checkpoints.
fn is_trainer_part(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| !matches!(Role::of(name), Role::Engine | Role::Other))
}

#[cfg(test)]
mod tests;
