//! Level 1: the file is there, has bytes, and as many as its marker or seal says.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::VerifyOptions;
use super::names::beside;
use crate::record::{Code, Finding, Level, Marker, Seal};

/// Markers and seals have some hundred bytes; what is longer was made by others and is only seen.
const MAX_MARKER_BYTES: u64 = 64 << 10;

/// What level 1 found out.
pub(super) struct Sized {
    /// The size of the file; 0 where it is none.
    pub(super) bytes: u64,
    /// The facts, none of which needed the file to be opened.
    pub(super) findings: Vec<Finding>,
}

/// Looks at the file from outside: three system calls where it stands alone.
pub(super) fn check(path: &Path, options: &VerifyOptions) -> Sized {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Sized { bytes: 0, findings: vec![missing(&error)] },
    };
    let bytes = metadata.len();
    if let Some(finding) = check_kind(&metadata) {
        return Sized { bytes: 0, findings: vec![finding] };
    }
    let mut findings = check_marker(path, bytes, options);
    findings.extend(check_seal(path, bytes));
    Sized { bytes, findings }
}

/// Refuses what can't be read like a file. A FIFO or a device is refused before it is opened: that could
/// hang.
fn check_kind(metadata: &Metadata) -> Option<Finding> {
    if !metadata.is_file() {
        let message = "neither a regular file nor a checkpoint's directory";
        return Some(Finding::incompatible(Code::NotRegular, Level::Size, message));
    }
    if metadata.len() == 0 {
        let message = "the file is empty: it was created, and nothing was written or kept";
        return Some(Finding::corrupted(Code::Empty, Level::Size, message));
    }
    None
}

/// A file that isn't there has lost all its bytes; one that can't be looked at says nothing.
pub(super) fn missing(error: &io::Error) -> Finding {
    match error.kind() {
        io::ErrorKind::NotFound => Finding::corrupted(Code::Missing, Level::Size, "there is no such file"),
        _ => unreadable(Level::Size, error),
    }
}

/// The finding for an error of the operating system.
pub(super) fn unreadable(level: Level, error: &io::Error) -> Finding {
    Finding::unreadable(Code::IoError, level, format!("it can't be read: {error}"))
}

/// Looks for the completion marker. One that says a size is held to it; any other says "finished", and that
/// is all there is to know. A marker that can't be read counts only where it is required.
fn check_marker(path: &Path, bytes: u64, options: &VerifyOptions) -> Vec<Finding> {
    match read_beside(path, Marker::SUFFIX) {
        Ok(Some(text)) => match Marker::parse(&text) {
            Some(marker) if marker.bytes != bytes => vec![mismatch("completion marker", marker.bytes, bytes)],
            Some(_) => vec![marked("the completion marker is there, and names this size")],
            None if text.is_empty() => vec![marked("the completion marker is there")],
            None => vec![marked(
                "the completion marker is there; what is written in it isn't ckpt's, and wasn't compared",
            )],
        },
        Ok(None) if options.require_marker => {
            let message = "there is no completion marker beside it: it may not be finished";
            vec![Finding::corrupted(Code::MarkerMissing, Level::Size, message)]
        }
        Ok(None) => Vec::new(),
        Err(error) if options.require_marker => {
            let message = format!("the completion marker can't be read: {error}");
            vec![Finding::unreadable(Code::IoError, Level::Size, message)]
        }
        Err(error) => {
            let message = format!("the completion marker is there, and can't be read: {error}");
            vec![Finding::note(Code::IoError, Level::Size, message)]
        }
    }
}

/// Holds the file to its seal, where it has one that can be read.
fn marked(message: &str) -> Finding {
    Finding::note(Code::Marked, Level::Size, message)
}

/// A seal is optional, and one that can't be read or isn't one says nothing.
fn check_seal(path: &Path, bytes: u64) -> Option<Finding> {
    let text = read_beside(path, Seal::SUFFIX).ok()??;
    let seal = Seal::parse(&text)?;
    (seal.bytes != bytes).then(|| mismatch("seal", seal.bytes, bytes))
}

/// The finding for a size that somebody had noted otherwise.
fn mismatch(what: &str, expected: u64, found: u64) -> Finding {
    let message = format!("the file has {found} bytes, and its {what} says {expected}");
    Finding::corrupted(Code::SizeMismatch, Level::Size, message)
}

/// Reads the small file beside a checkpoint; `None` where there is none.
fn read_beside(path: &Path, suffix: &str) -> io::Result<Option<Vec<u8>>> {
    let beside = beside(path, suffix);
    // A marker that is a FIFO would hang the reader.
    match std::fs::metadata(&beside) {
        Ok(metadata) if !metadata.is_file() || metadata.len() == 0 => return Ok(Some(Vec::new())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut text = Vec::new();
    File::open(&beside)?.take(MAX_MARKER_BYTES).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// Returns whether a completion marker stands beside the file.
pub(super) fn has_marker(path: &Path) -> bool {
    std::fs::metadata(beside(path, Marker::SUFFIX)).is_ok()
}
