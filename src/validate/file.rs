//! One file, level by level.

use std::path::Path;

use super::contents::Checked;
use super::size::{self, unreadable};
use super::{VerifyOptions, container, load};
use crate::format::Flaw;
use crate::io::FileSource;
use crate::record::{Code, Finding, FormatKind, Level};

/// Checks a file as deep as the options ask for, or as deep as its damage allows.
pub(super) fn check(path: &Path, options: &VerifyOptions) -> Checked {
    let size::Sized { bytes, findings } = size::check(path, options);
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
        check_contents(path, options, &mut checked);
    }
    checked
}

/// The note of every report of the fast path.
pub(super) fn contents_not_checked() -> Finding {
    let message = "only presence, size and completion marker were checked, not the contents";
    Finding::note(Code::ContentsNotChecked, Level::Size, message)
}

/// Levels 2 and 3, on one open file: what is checked is what was opened, whatever takes its name meanwhile.
fn check_contents(path: &Path, options: &VerifyOptions, checked: &mut Checked) {
    checked.level = Some(Level::Container);
    let source = match FileSource::open(path) {
        Ok(source) => source,
        Err(error) => {
            checked.findings.push(unreadable(Level::Size, &error));
            checked.level = Some(Level::Size);
            return;
        }
    };
    let opened = container::open(path, &source, options, checked);
    if let Some(opened) = opened
        && options.level >= Level::Load
    {
        checked.level = Some(Level::Load);
        load::check(&source, &opened, options, checked);
    }
    note_change(&source, checked);
}

/// What was read of a file that changed meanwhile may be a mixture of two states.
fn note_change(source: &FileSource, checked: &mut Checked) {
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
