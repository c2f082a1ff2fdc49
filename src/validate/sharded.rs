//! A sharded Hugging Face checkpoint: an index and its shards, checked as one.

use std::path::Path;

use super::VerifyOptions;
use super::contents::{Checked, Contents};
use super::file::{self, flaw_finding};
use super::size::{self, unreadable};
use crate::format::hugging_face::{Index, check_shards, read_index};
use crate::format::read_vec;
use crate::io::{FileSource, ReadAt};
use crate::record::{Code, Finding, FormatKind, Level, TensorInfo, first_few, quoted};

/// The index of a model with a million tensors has a tenth of this.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// Checks an index and all its shards. The marker that may be required is the index's and each shard's own.
pub(super) fn check(path: &Path, options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::HuggingFaceSharded, Some(Level::Size));
    let size::Sized { bytes, findings, .. } = size::check(path, options);
    checked.bytes = bytes;
    checked.findings = findings;
    if checked.failed() {
        return checked;
    }
    match read(path) {
        Ok(index) => check_all(path, &index, options, &mut checked),
        Err(finding) => checked.findings.push(*finding),
    }
    checked
}

/// Reads the index file.
pub(super) fn read(path: &Path) -> Result<Index, Box<Finding>> {
    let source = FileSource::open(path).map_err(|error| unreadable(Level::Size, &error))?;
    if source.len() > MAX_INDEX_BYTES {
        let message = format!("the shard index has {} bytes; the limit is {MAX_INDEX_BYTES}", source.len());
        return Err(Box::new(Finding::incompatible(Code::TooComplex, Level::Container, message)));
    }
    let bytes =
        read_vec(&source, 0..source.len()).map_err(|error| flaw_finding(error.into(), Level::Container))?;
    read_index(&bytes).map_err(|flaw| Box::new(flaw_finding(flaw, Level::Container)))
}

/// Checks each shard as a file of its own, then all of them against the index. What the index says of a shard
/// that isn't there, or can't be read, is not repeated tensor by tensor.
fn check_all(path: &Path, index: &Index, options: &VerifyOptions, checked: &mut Checked) {
    checked.findings.extend(index.notes.iter().cloned());
    let directory = path.parent().unwrap_or(Path::new(""));
    let (present, missing): (Vec<&String>, Vec<&String>) =
        index.shards.iter().partition(|name| directory.join(name).exists());
    let mut read: Vec<(String, Vec<TensorInfo>)> = Vec::new();
    let mut all = Contents { is_map: true, ..Contents::default() };
    for name in &present {
        let mut part = file::check(&directory.join(name), options);
        if let Some(contents) = part.contents.take() {
            add(&mut all, &contents);
            read.push(((*name).clone(), contents.tensors));
        }
        checked.absorb(name, part);
    }
    checked.merge_notes("files");
    checked.findings.extend(first_few(missing, |name| missing_shard(name), "shards are missing"));
    if !read.is_empty() {
        // A shard that is there and couldn't be read has its own finding: it isn't missing.
        let found = check_shards(index, &read);
        checked.findings.extend(found.into_iter().filter(|finding| finding.code != Code::ArtifactMissing));
        checked.contents = Some(all);
    }
}

/// The finding for a shard that isn't there.
fn missing_shard(name: &str) -> Finding {
    let message = format!("the shard {} is missing", quoted(name));
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message).at_file(name)
}

/// Adds a shard's tensors and keys to those of the whole.
fn add(all: &mut Contents, shard: &Contents) {
    let base = all.tensors.len();
    all.tensors.extend(shard.tensors.iter().cloned());
    all.keys.extend(shard.keys.iter().map(|(key, tensor)| (key.clone(), tensor.map(|at| at + base))));
}
