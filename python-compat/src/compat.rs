//! What `ckpt.compat` needs of the crate beside saving, loading and checking: the fields at the top of a checkpoint,
//! `failed_checkpoints.txt`, and completion markers.

use std::path::{Path, PathBuf};

use ckpt::Error;
use ckpt::format::torch::ReadOptions;
use ckpt::format::torch::archive::TorchArchive;
use ckpt::format::zip::Archive;
use ckpt::format::{Flaw, detect};
use ckpt::io::commit::{Durability, LocalDisk, write_small};
use ckpt::io::{FileSource, ReadAt as _};
use ckpt::record::{FormatKind, Marker};
use ckpt::tensor::{Node, NodeId, Tree};
use ckpt::validate::{self, FailureLine, History, proof_of};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;
use crate::records;

/// What stands at the top of a checkpoint.
#[derive(Debug, Default)]
struct Top {
    format: String,
    /// Whether the top level is a dict; none where that can't be told without executing something.
    is_dict: Option<bool>,
    /// Its keys that are texts.
    keys: Vec<String>,
    version: Option<String>,
    status: Option<String>,
    tensors: usize,
}

/// Reads the top of a checkpoint: its keys, version and status. Costs the structure, not the data.
#[pyfunction]
pub(crate) fn describe(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let top = py.detach(|| top(&path)).map_err(|error| errors::raise(py, &error))?;
    let dict = PyDict::new(py);
    dict.set_item("format", top.format)?;
    dict.set_item("is_dict", top.is_dict)?;
    dict.set_item("keys", top.keys)?;
    dict.set_item("version", top.version)?;
    dict.set_item("status", top.status)?;
    dict.set_item("tensors", top.tensors)?;
    Ok(dict)
}

/// Returns whether a file is a ZIP archive whose directory is sound. Costs the directory.
#[pyfunction]
pub(crate) fn is_zip(py: Python<'_>, path: PathBuf) -> bool {
    py.detach(|| FileSource::open(&path).is_ok_and(|source| Archive::open(&source).is_ok()))
}

fn top(path: &Path) -> Result<Top, Error> {
    if !path.is_dir() {
        let failed = |error| Error::io(path, "read it", error);
        let source = FileSource::open(path).map_err(failed)?;
        if detect(&source).map_err(failed)? == FormatKind::Zip {
            return archived(&source).map_err(|flaw| match flaw {
                Flaw::Found(finding) => Error::found(path, *finding),
                Flaw::Io(error) => failed(error),
            });
        }
    }
    let info = validate::inspect(path)?;
    Ok(Top {
        format: info.format.to_string(),
        is_dict: Some(true).filter(|_| info.format == FormatKind::Safetensors),
        version: info.version,
        status: info.status,
        tensors: info.tensors.len(),
        ..Top::default()
    })
}

/// Reads the top of a ZIP archive; one that isn't PyTorch's has none.
fn archived(source: &FileSource) -> Result<Top, Flaw> {
    let archive = TorchArchive::open(source)?;
    let format = archive.kind.to_string();
    if archive.kind != FormatKind::TorchZip {
        return Ok(Top { format, is_dict: Some(false), ..Top::default() });
    }
    let (checkpoint, _) = archive.read(source, &ReadOptions::default())?;
    let tensors = checkpoint.tensors().map_or(0, |tensors| tensors.len());
    Ok(Top { format, tensors, ..root(&checkpoint.tree) })
}

/// Looks at the root. An object of an unknown class that entries are set in is a dict of some kind: a `defaultdict`.
fn root(tree: &Tree) -> Top {
    let (is_dict, entries) = match tree.node(tree.root()) {
        Node::Map(_, map) => (true, map.as_ref().map_or(&[][..], |map| &map.entries)),
        Node::Object(object) => (!object.entries.is_empty(), &object.entries[..]),
        _ => (false, &[][..]),
    };
    let named = |(key, value): &(NodeId, NodeId)| Some((text(tree.node(*key))?, *value));
    let fields: Vec<(String, NodeId)> = entries.iter().filter_map(named).collect();
    let field = |name: &str| {
        let (_, value) = fields.iter().find(|(key, _)| key == name)?;
        plain(tree.node(*value))
    };
    let (version, status) = (field("version"), field("status"));
    let keys = fields.into_iter().map(|(key, _)| key).collect();
    Top { is_dict: Some(is_dict), keys, version, status, ..Top::default() }
}

fn text(node: &Node) -> Option<String> {
    if let Node::Text(text) = node { Some(text.to_string()) } else { None }
}

/// Returns a field's text; a number is written as Python would.
fn plain(node: &Node) -> Option<String> {
    match node {
        Node::Int(value) => Some(value.to_string()),
        Node::Float(value) => Some(format!("{value:?}")),
        node => text(node),
    }
}

/// Judges a version by the rules of the command's `--compat`. Returns the finding that speaks against it.
#[pyfunction]
pub(crate) fn check_version(py: Python<'_>, version: Option<String>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let finding = validate::check_version(version.as_deref()).filter(ckpt::Finding::is_failure);
    finding.map(|finding| records::dict(py, &finding)).transpose()
}

/// Appends a line to the failure log of a directory.
#[pyfunction]
pub(crate) fn log_failure(
    py: Python<'_>,
    directory: PathBuf,
    path: PathBuf,
    reason: String,
    at: String,
) -> PyResult<()> {
    let line = FailureLine { path, reason, at };
    let logged = py.detach(|| History::append_lines(&directory, &[line]));
    logged.map_err(|error| errors::raise(py, &error))
}

/// Reads the failure log of a directory: its lines, and the malformed ones.
#[pyfunction]
pub(crate) fn logged_failures(py: Python<'_>, directory: PathBuf) -> PyResult<Logged> {
    let lines = py.detach(|| History::lines(&directory)).map_err(|error| errors::raise(py, &error))?;
    let whole = lines.whole.into_iter().map(|line| (line.path, line.reason, line.at));
    Ok((whole.collect(), lines.malformed))
}

type Logged = (Vec<(PathBuf, String, String)>, Vec<String>);

/// Makes the completion marker `marker` for the file that is at `path` now.
#[pyfunction]
pub(crate) fn mark_done(py: Python<'_>, path: PathBuf, marker: PathBuf) -> PyResult<()> {
    let made = py.detach(|| {
        let source = FileSource::open(&path).map_err(|error| Error::io(&path, "look at it", error))?;
        let proof = proof_of(&source).map(|proven| proven.proof.id());
        let text = Marker { bytes: source.len(), proof, or: None }.encode();
        write_small(&LocalDisk, &marker, text.as_bytes(), Durability::Full)
    });
    made.map_err(|error| errors::raise(py, &error))
}
