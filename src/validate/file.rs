//! One file, level by level.

use std::path::Path;

use super::contents::Checked;
use super::size::{self, Beside, unreadable};
use super::watched::Watched;
use super::{VerifyOptions, blocks, container, load, proof};
use crate::format::Flaw;
use crate::io::{FileSource, ScanSource};
use crate::record::{Code, Finding, FormatKind, Level};

/// Checks a file as deep as the options ask for, or as deep as its damage allows.
pub(super) fn check(path: &Path, options: &VerifyOptions) -> Checked {
    let size::Sized { bytes, findings, beside } = size::check(path, options);
    let mut checked = Checked::new(FormatKind::Unknown, Some(Level::Size));
    checked.bytes = bytes;
    checked.findings = findings;
    if checked.findings.iter().any(|finding| finding.code == Code::Empty) {
        checked.format = FormatKind::Empty;
    }
    if options.skip_contents {
        if !checked.failed() {
            checked.findings.push(contents_not_checked());
        }
        return checked;
    }
    if options.level > Level::Size && !checked.failed() {
        check_opened(path, &beside, options, &mut checked);
    }
    checked
}

/// The note of every report of the fast path.
pub(super) fn contents_not_checked() -> Finding {
    let message = "only presence, size and completion marker were checked, not the contents";
    Finding::note(Code::ContentsNotChecked, Level::Size, message)
}

/// Checks what is behind an open source, whose name decides nothing but what it promises.
pub(super) fn check_source(name: &Path, source: &dyn ScanSource, options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::Unknown, Some(Level::Size));
    checked.bytes = source.len();
    if source.is_empty() {
        checked.format = FormatKind::Empty;
        checked.findings.push(size::empty());
    } else if options.skip_contents {
        checked.findings.push(contents_not_checked());
    } else if options.level > Level::Size {
        check_contents(name, &Watched::new(source, options), &Beside::default(), options, &mut checked);
    }
    checked
}

/// Levels 2 and 3, on one open file: what is checked is what was opened, whatever takes its name meanwhile.
fn check_opened(path: &Path, beside: &Beside, options: &VerifyOptions, checked: &mut Checked) {
    let opened = if options.fresh { FileSource::open_fresh(path) } else { FileSource::open(path) };
    match opened {
        Ok(source) => {
            check_contents(path, &Watched::new(&source, options), beside, options, checked);
            note_change(&source, checked);
        }
        Err(error) => checked.findings.push(unreadable(Level::Size, &error)),
    }
}

/// Levels 2 and 3, with what stands beside the file.
fn check_contents(
    name: &Path,
    source: &dyn ScanSource,
    beside: &Beside,
    options: &VerifyOptions,
    checked: &mut Checked,
) {
    checked.level = Some(Level::Container);
    let opened = container::open(name, source, options, checked);
    let proven = checked.proven.take();
    let own_id = proven.as_deref().and_then(proof::id_of);
    if opened.is_some() && !checked.failed() {
        checked.findings.extend(size::stale_marker(beside, checked.bytes, own_id.as_deref()));
    }
    checked.proof_id.clone_from(&own_id);
    let Some(opened) = opened.filter(|_| options.level >= Level::Load) else { return };
    checked.level = Some(Level::Load);
    load::check(source, &opened, proven.as_deref(), options, checked);
    let is_proven = own_id.is_some() && !checked.failed();
    if let Some(seal) = beside.seal.as_ref().filter(|_| !is_proven) {
        blocks::check_seal(source, seal, options, checked);
    }
}

/// What was read of a file that changed meanwhile may be a mixture of two states.
pub(super) fn note_change(source: &FileSource, checked: &mut Checked) {
    if !source.changed().unwrap_or(false) {
        return;
    }
    let message = "the file changed while it was checked: check it again";
    let level = checked.level.unwrap_or(Level::Size);
    checked.findings.push(if checked.failed() {
        Finding::unreadable(Code::ChangedWhileRead, level, message)
    } else {
        Finding::note(Code::ChangedWhileRead, level, message)
    });
}

/// Takes up a flaw: a finding as it is, an I/O error as "could not be checked".
pub(super) fn flaw_finding(flaw: Flaw, level: Level) -> Finding {
    match flaw {
        Flaw::Found(finding) => *finding,
        Flaw::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Finding::unreadable(
            Code::ChangedWhileRead,
            level,
            "the file became shorter while it was checked: check it again",
        ),
        Flaw::Io(error) => unreadable(level, &error),
    }
}
