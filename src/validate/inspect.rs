use std::collections::BTreeMap;
use std::path::Path;

use super::contents::{Checked, Contents};
use super::file::flaw_finding;
use super::{VerifyOptions, container, dcp, directory, managed, names, sharded, size};
use crate::error::Error;
use crate::io::{FileSource, ReadAt};
use crate::record::{Finding, FormatKind, Info, Level, Manifest};

/// Under which key of the metadata the position is told.
const POSITION: &str = "ckpt.position";

/// Reads what a checkpoint says of itself: its format, version, status and tensors.
///
/// Costs the header, not the data: milliseconds on a file of many gigabytes. Nothing is checked
/// beyond what reading the structure needs; a pickle that needs trust is listed as far as it is data.
///
/// # Errors
///
/// The path can't be read, or its structure is damaged.
pub fn inspect(path: &Path) -> Result<Info, Error> {
    let options = VerifyOptions::default().with_level(Level::Container);
    let (format, bytes, contents) = if directory::is_managed(path, path.join(Manifest::NAME).is_file()) {
        inspect_managed(path, &options)?
    } else if let Some(names) = dcp::names_of(path) {
        dcp::inspect(path, &names, &options)?
    } else if path.is_dir() {
        taken(path, directory::check(path, &options))?
    } else if names::is_shard_index(path) {
        taken(path, sharded::check(path, &options))?
    } else {
        inspect_file(path, &options)?
    };
    let mut info = Info::new(path.to_owned(), format);
    info.bytes = bytes;
    info.marker = size::has_marker(path);
    info.version = contents.version;
    info.status = contents.status;
    info.metadata = contents.metadata;
    info.tensors = contents.tensors;
    Ok(info)
}

/// Reads the structure of a managed checkpoint's state, and what its manifest says of it.
fn inspect_managed(path: &Path, options: &VerifyOptions) -> Result<(FormatKind, u64, Contents), Error> {
    let failed = |finding: Box<Finding>| Error::found(path, finding.at_file(Manifest::NAME));
    let manifest = managed::read(path).map_err(failed)?;
    let mut contents = Contents::default();
    if let Some(state) = manifest.artifacts.first().filter(|artifact| artifact.proven) {
        (_, _, contents) = inspect_file(&path.join(&state.name), options)?;
    }
    contents.metadata = facts(&manifest);
    Ok((FormatKind::Managed, manifest.bytes(), contents))
}

/// What a manifest says of the checkpoint as a whole; the caller's own words as they are.
fn facts(manifest: &Manifest) -> BTreeMap<String, String> {
    let parent = manifest.parent.map(|parent| ("ckpt.parent".to_owned(), parent.to_string()));
    let metrics = manifest.metrics.iter().map(|(name, value)| (format!("metric.{name}"), value.to_string()));
    let own = [
        ("ckpt.checkpoint", manifest.id.to_string()),
        (POSITION, manifest.position.to_string()),
        ("ckpt.created", manifest.created.to_string()),
        ("ckpt.writer", manifest.writer.clone()),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value));
    manifest.metadata.clone().into_iter().chain(metrics).chain(parent).chain(own).collect()
}

/// The contents of a check, or the finding that kept it from them.
fn taken(path: &Path, mut checked: Checked) -> Result<(FormatKind, u64, Contents), Error> {
    match (checked.contents.take(), checked.findings.iter().find(|finding| finding.is_failure())) {
        (Some(contents), _) => Ok((checked.format, checked.bytes, contents)),
        (None, Some(finding)) => Err(Error::found(path, finding.clone())),
        (None, None) => Ok((checked.format, checked.bytes, Contents::default())),
    }
}

/// Reads the structure of a single file, as far as it holds together.
fn inspect_file(path: &Path, options: &VerifyOptions) -> Result<(FormatKind, u64, Contents), Error> {
    let source = FileSource::open(path).map_err(|error| Error::io(path, "read it", error))?;
    let mut checked = Checked::new(FormatKind::Unknown, Some(Level::Container));
    checked.bytes = source.len();
    let opened = container::open(path, &source, options, &mut checked);
    let position = position(&checked);
    let (checkpoint, metadata) = match &opened {
        Some(container::Opened::Archive(archive)) if archive.kind == FormatKind::TorchZip => {
            let failed = |flaw| Error::found(path, flaw_finding(flaw, Level::Load));
            let (checkpoint, _) = archive.read(&source, &options.read_options()).map_err(failed)?;
            let mut metadata = archive.callers_metadata(&source).map_err(failed)?;
            metadata.extend(archive.metadata.clone());
            (Some(checkpoint), metadata)
        }
        // A foreign archive has no contents to list; that it is one is said by the format.
        Some(container::Opened::Archive(_) | container::Opened::Pickle) => {
            return Ok((checked.format, checked.bytes, Contents::default()));
        }
        Some(container::Opened::Legacy(checkpoint)) => {
            let contents =
                Contents::of(&checkpoint.tree, false).map_err(|finding| Error::found(path, *finding))?;
            return Ok((checked.format, checked.bytes, contents));
        }
        _ => (None, BTreeMap::new()),
    };
    let (format, bytes, mut contents) = match checkpoint {
        None => taken(path, checked)?,
        Some(checkpoint) => {
            let contents = Contents::of(&checkpoint.tree, false);
            let contents = contents.map_err(|finding| Error::found(path, *finding))?;
            (checked.format, checked.bytes, Contents { metadata, ..contents })
        }
    };
    contents.metadata.extend(position);
    Ok((format, bytes, contents))
}

/// Returns what the file's own proof says of where in the work it was saved.
fn position(checked: &Checked) -> Option<(String, String)> {
    let proven = checked.proven.as_ref().filter(|proven| proven.is_head_intact())?;
    let position = proven.proof.position.as_ref()?;
    Some((POSITION.to_owned(), position.to_string()))
}
