//! Level 2: what the file is, and whether its container holds together.

use std::ops::Range;
use std::path::Path;

use super::VerifyOptions;
use super::contents::{Checked, Contents};
use super::file::flaw_finding;
use super::names::promise;
use super::proof;
use crate::format::safetensors::{self, Header, structure};
use crate::format::torch::archive::{self, TorchArchive};
use crate::format::torch::{Checkpoint, legacy};
use crate::format::{Carried, Flaw, beginning_of, detect, read_vec};
use crate::io::ScanSource;
use crate::record::{Code, Finding, FormatKind, Level, TensorInfo, Verdict};

/// A file whose container is sound.
pub(super) enum Opened {
    /// The place of each tensor, in the order of the contents.
    Safetensors(Vec<Range<u64>>),
    Archive(Box<TorchArchive>),
    Legacy(Box<Checkpoint>),
    /// A plain pickle: no checkpoint, but worth a look for what it asks for.
    Pickle,
}

/// Tells what the file is and opens its container; findings and contents go into `checked`. `None`
/// where there is nothing that a deeper level could check.
pub(super) fn open(
    path: &Path,
    source: &dyn ScanSource,
    options: &VerifyOptions,
    checked: &mut Checked,
) -> Option<Opened> {
    let kind = match detect(source) {
        Ok(kind) => kind,
        Err(error) => {
            checked.findings.push(flaw_finding(error.into(), Level::Container));
            return None;
        }
    };
    checked.format = kind;
    let opened = match kind {
        FormatKind::Safetensors => open_safetensors(source, checked),
        FormatKind::Zip => open_archive(source, checked),
        FormatKind::TorchLegacy => open_legacy(source, options, checked),
        FormatKind::Unknown => return open_unknown(path, source, checked),
        FormatKind::Zeros => {
            let message =
                "the file is zero at its beginning and at its end: it was never written back to the disk";
            checked.findings.push(Finding::corrupted(Code::AllZero, Level::Container, message));
            return None;
        }
        FormatKind::Pickle => Some(Opened::Pickle),
        _ => None,
    };
    if opened.is_some() || !checked.failed() {
        checked.findings.extend(foreign(checked.format));
    }
    checked.findings.extend(misleading(path, checked.format));
    opened
}

/// Reads and checks the header, and the structure in it: what the tensors are is known then.
fn open_safetensors(source: &dyn ScanSource, checked: &mut Checked) -> Option<Opened> {
    match safetensors::read_header(source) {
        Ok(header) => {
            checked.findings.extend(header.notes.iter().cloned());
            take_proof(proof::of_safetensors(source, &header), checked);
            let places = header.tensors.iter().map(|tensor| tensor.start..tensor.end).collect();
            match safetensors_contents(&header) {
                Ok(contents) => checked.contents = Some(Contents { metadata: header.metadata, ..contents }),
                Err(finding) => checked.findings.push(*finding),
            }
            Some(Opened::Safetensors(places))
        }
        Err(flaw) => {
            let finding = flaw_finding(flaw, Level::Container);
            let was_usable = finding.verdict == Verdict::Incompatible;
            checked.findings.push(finding);
            if was_usable && safetensors::is_head_damaged(source).unwrap_or(false) {
                checked.findings.push(proof::other_head());
            }
            None
        }
    }
}

/// Takes up what the file has for a proof, or what is wrong with it.
fn take_proof(carried: Result<Carried, Flaw>, checked: &mut Checked) {
    match carried {
        Ok(carried) => proof::take(carried, checked),
        Err(flaw) => checked.findings.push(flaw_finding(flaw, Level::Container)),
    }
}

/// What a header says of the contents: its tensors, or the structure in it. `version` and `status` are entries
/// of the metadata, or of the structure.
fn safetensors_contents(header: &Header) -> Result<Contents, Box<Finding>> {
    let metadata = |key: &str| header.metadata.get(key).cloned();
    let contents = if header.metadata.contains_key(structure::STRUCTURE_KEY) {
        let read = structure::read(header).map_err(|flaw| Box::new(flaw_finding(flaw, Level::Load)))?;
        Contents::of(&read.tree, true)?
    } else {
        let tensors: Vec<TensorInfo> = header.tensors.iter().map(|tensor| tensor.info.clone()).collect();
        let keys = tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), Some(at))).collect();
        Contents { tensors, keys, is_map: true, ..Contents::default() }
    };
    Ok(Contents {
        version: metadata("version").or(contents.version),
        status: metadata("status").or(contents.status),
        tagged: header.metadata.keys().any(|key| key.starts_with("ckpt.")),
        ..contents
    })
}

/// Opens a ZIP archive. Where its directory is gone, the first record still says what it was.
fn open_archive(source: &dyn ScanSource, checked: &mut Checked) -> Option<Opened> {
    match TorchArchive::open(source) {
        Ok(archive) => {
            checked.format = archive.kind;
            take_proof(proof::of_archive(source, &archive), checked);
            Some(Opened::Archive(Box::new(archive)))
        }
        Err(flaw) => {
            if archive::begins_like_torch(source) {
                checked.format = FormatKind::TorchZip;
            }
            checked.findings.push(flaw_finding(flaw, Level::Container));
            None
        }
    }
}

/// The old format has no container around its pickles: they are read here.
fn open_legacy(source: &dyn ScanSource, options: &VerifyOptions, checked: &mut Checked) -> Option<Opened> {
    match legacy::read(source, &options.read_options()) {
        Ok(checkpoint) => Some(Opened::Legacy(Box::new(checkpoint))),
        Err(flaw) => {
            // Here the pickles are the container: no level below it was passed.
            let finding = flaw_finding(flaw, Level::Container);
            checked.findings.push(Finding { level: Level::Container, ..finding });
            None
        }
    }
}

/// Content without a known beginning. What the name promises decides how the finding reads, and
/// whether these are damaged bytes or just no checkpoint.
fn open_unknown(path: &Path, source: &dyn ScanSource, checked: &mut Checked) -> Option<Opened> {
    let head = read_vec(source, 0..source.len().min(512)).unwrap_or_default();
    let promised = promise(path);
    if promised == Some(FormatKind::Safetensors) {
        let opened = open_safetensors(source, checked);
        if opened.is_some() {
            checked.format = FormatKind::Safetensors;
        }
        return opened;
    }
    let finding = if let Some(kind) = beginning_of(&head) {
        let kind = promised.filter(|_| kind == FormatKind::Zip).unwrap_or(kind);
        let message = format!(
            "the file ends after {} bytes, within the first bytes of {}",
            head.len(),
            kind.describe()
        );
        Finding::corrupted(Code::Truncated, Level::Container, message)
    } else if promised.is_some() && !is_text(&head) {
        let message = "the file has a checkpoint's name, and its first bytes are those of no known format";
        Finding::corrupted(Code::UnknownFormat, Level::Container, message)
    } else {
        let what = if is_text(&head) { "text" } else { "of no known format" };
        Finding::incompatible(Code::UnknownFormat, Level::Container, format!("the content is {what}"))
    };
    checked.findings.push(finding.at_offset(0));
    None
}

/// Returns whether a person could read this: the difference between a log and damaged bytes.
fn is_text(head: &[u8]) -> bool {
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    std::str::from_utf8(head).is_ok() && head.iter().all(|byte| printable(byte) || !byte.is_ascii())
}

/// What is recognised, and is no checkpoint that can be checked.
fn foreign(kind: FormatKind) -> Option<Finding> {
    let reason = match kind {
        FormatKind::Safetensors | FormatKind::TorchZip | FormatKind::TorchLegacy => return None,
        FormatKind::TorchScript => "it holds a program with its weights; torch.jit.load reads it",
        FormatKind::TorchExport => "it holds an exported program; torch.export.load reads it",
        FormatKind::TorchTar => "PyTorch 0.1 wrote it; its safe reader refuses it",
        FormatKind::GitLfsPointer => "the file itself was never fetched",
        FormatKind::Html => "it is most likely a download's error page",
        FormatKind::Pickle => "it has no container around it, and loading it executes what it asks for",
        _ => "it is no checkpoint that can be checked",
    };
    let message = format!("the content is {}: {reason}", kind.describe());
    Some(Finding::incompatible(Code::ForeignFormat, Level::Container, message))
}

/// Readers choose by the name, so a file with the other format's name can't be loaded by its own.
fn misleading(path: &Path, kind: FormatKind) -> Option<Finding> {
    let torch = matches!(kind, FormatKind::TorchZip | FormatKind::TorchLegacy);
    let misleads = match promise(path)? {
        FormatKind::Safetensors => torch,
        _ => kind == FormatKind::Safetensors,
    };
    misleads.then(|| {
        let message =
            format!("the content is {}, but the name says otherwise: readers go by it", kind.describe());
        Finding::incompatible(Code::MisleadingName, Level::Container, message)
    })
}
