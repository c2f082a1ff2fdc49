//! Level 1: the file is there, has bytes, and as many as its marker or seal says.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::VerifyOptions;
use super::names::beside;
use super::proof::own_size_and_id;
use crate::io::Cancelled;
use crate::record::{Code, Finding, Level, Marker, MarkerFit, Seal};

/// Markers have some hundred bytes; what is longer was made by others and is only seen.
const MAX_MARKER_BYTES: u64 = 64 << 10;
/// Seals have a digest for each window of the file: this is enough for 16 TiB, with the longest digests.
const MAX_SEAL_BYTES: u64 = 256 << 20;

/// What level 1 found out.
pub(super) struct Sized {
    /// The size of the file; 0 where it is none.
    pub(super) bytes: u64,
    /// The facts, none of which needed the file to be opened.
    pub(super) findings: Vec<Finding>,
    /// What the files beside it say, for the deeper levels.
    pub(super) beside: Beside,
}

impl Sized {
    /// A file that was not looked at any further.
    fn refused(finding: Finding) -> Self {
        Self { bytes: 0, findings: vec![finding], beside: Beside::default() }
    }
}

/// What the small files beside a checkpoint say of it.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The completion marker, where it carries facts.
    pub(super) marker: Option<Marker>,
    /// The seal, where it is one.
    pub(super) seal: Option<Seal>,
}

/// Looks at the file from outside: three system calls where it stands alone.
pub(super) fn check(path: &Path, options: &VerifyOptions) -> Sized {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Sized::refused(missing(&error)),
    };
    let bytes = metadata.len();
    if let Some(finding) = check_kind(&metadata) {
        return Sized::refused(finding);
    }
    let mut beside = Beside::default();
    let mut findings = check_marker(path, bytes, options, &mut beside);
    findings.extend(check_seal(path, bytes, &mut beside));
    Sized { bytes, findings, beside }
}

/// Refuses what can't be read like a file. A FIFO or a device is refused before it is opened: that could
/// hang.
fn check_kind(metadata: &Metadata) -> Option<Finding> {
    if !metadata.is_file() {
        let message = "neither a regular file nor a checkpoint's directory";
        return Some(Finding::incompatible(Code::NotRegular, Level::Size, message));
    }
    if metadata.len() == 0 {
        return Some(empty());
    }
    None
}

/// The finding for a file without a byte.
pub(super) fn empty() -> Finding {
    let message = "the file is empty: it was created, and nothing was written or kept";
    Finding::corrupted(Code::Empty, Level::Size, message)
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
    if Cancelled::is_reason_of(error) {
        return Finding::unreadable(Code::Cancelled, level, "the check was cancelled");
    }
    Finding::unreadable(Code::IoError, level, format!("it can't be read: {error}"))
}

/// Looks for the completion marker. One that says a size is held to it; any other says "finished", and that
/// is all there is to know. A marker that can't be read counts only where it is required.
fn check_marker(path: &Path, bytes: u64, options: &VerifyOptions, beside: &mut Beside) -> Vec<Finding> {
    match read_beside(path, Marker::SUFFIX, MAX_MARKER_BYTES) {
        Ok(Some(text)) => match Marker::parse(&text) {
            Some(marker) => {
                let finding = hold_size(path, bytes, &marker);
                beside.marker = Some(marker);
                vec![finding]
            }
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

/// Holds the file's size to its marker's. Where it is another, the file's head is looked at: a file that was
/// written after the marker carries another proof than the marker names. One that was saved anew between the
/// two looks has the marker's size by now.
fn hold_size(path: &Path, bytes: u64, marker: &Marker) -> Finding {
    if marker.names_size(bytes) {
        return size_named();
    }
    let Some((bytes, own)) = own_size_and_id(path) else {
        return mismatch("completion marker", marker.bytes, bytes);
    };
    match marker.fit(bytes, Some(&own)) {
        MarkerFit::Fits => size_named(),
        MarkerFit::Stale => stale(),
        MarkerFit::OtherSize => mismatch("completion marker", marker.bytes, bytes),
    }
}

/// The note for a marker that fits the file's size.
fn size_named() -> Finding {
    marked("the completion marker is there, and names this size")
}

/// The note for a marker that names this size, and another proof than the file's, whose id is `own`.
pub(super) fn stale_marker(beside: &Beside, bytes: u64, own: Option<&str>) -> Option<Finding> {
    let marker = beside.marker.as_ref().filter(|marker| marker.names_size(bytes))?;
    (marker.fit(bytes, own) != MarkerFit::Fits).then(stale)
}

/// The note for a marker that was written for another file.
fn stale() -> Finding {
    let message =
        "the completion marker names another proof than the file's: it was written for another file";
    Finding::note(Code::MarkerStale, Level::Size, message)
}

/// The note for a marker that says so.
fn marked(message: &str) -> Finding {
    Finding::note(Code::Marked, Level::Size, message)
}

/// Holds the file's size to its seal's. A seal is optional, and one that can't be read or isn't one says
/// nothing; a file that carries its own proof was written after it was sealed.
fn check_seal(path: &Path, bytes: u64, beside: &mut Beside) -> Option<Finding> {
    let text = read_beside(path, Seal::SUFFIX, MAX_SEAL_BYTES).ok()??;
    let Some(seal) = Seal::parse(&text) else {
        let message = "the seal beside the file is damaged, or no seal: nothing was held against it";
        return Some(Finding::note(Code::SealDamaged, Level::Size, message));
    };
    let sealed = seal.bytes;
    beside.seal = Some(seal);
    if sealed == bytes {
        return None;
    }
    if own_size_and_id(path).is_some() {
        let message = "the seal is of a file of another size: the file was written anew, with its own proof";
        return Some(Finding::note(Code::SealStale, Level::Size, message));
    }
    Some(mismatch("seal", sealed, bytes))
}

/// The finding for a size that somebody had noted otherwise.
fn mismatch(what: &str, expected: u64, found: u64) -> Finding {
    let message = format!("the file has {found} bytes, and its {what} says {expected}");
    Finding::corrupted(Code::SizeMismatch, Level::Size, message)
}

/// Reads the small file beside a checkpoint; `None` where there is none.
fn read_beside(path: &Path, suffix: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let beside = beside(path, suffix);
    // A marker that is a FIFO would hang the reader.
    match std::fs::metadata(&beside) {
        Ok(metadata) if !metadata.is_file() || metadata.len() == 0 => return Ok(Some(Vec::new())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut text = Vec::new();
    File::open(&beside)?.take(most).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// Returns whether a completion marker stands beside the file.
pub(super) fn has_marker(path: &Path) -> bool {
    std::fs::metadata(beside(path, Marker::SUFFIX)).is_ok()
}
