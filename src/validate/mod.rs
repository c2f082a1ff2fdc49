//! Judgement: the four levels, and what they make of a checkpoint.
//!
//! [`verify`] checks one checkpoint, whatever its form: a file (`file`), a shard index with its shards
//! (`sharded`), a Hugging Face Trainer's directory (`trainer`), one of `torch.distributed.checkpoint` (`dcp`), or a
//! managed one (`managed`). Each level is a module:
//! `size`, `container`, `load`, `keys`. They collect findings; the gravest one decides.

mod batch;
mod blocks;
mod container;
mod contents;
mod dcp;
mod directory;
mod discover;
mod file;
mod history;
mod inspect;
mod keys;
mod load;
mod managed;
mod names;
mod near;
mod options;
mod parts;
mod proof;
mod requirement;
mod sealed;
mod sharded;
mod size;
mod trainer;
mod version;
mod watched;

use std::path::Path;
use std::time::Instant;

use contents::Checked;

use crate::io::ScanSource;
use crate::record::{Level, Report};

pub use batch::Batch;
pub use discover::{Candidate, Discovery, Look, discover};
pub use history::{FailureLine, FailureLines, History, PastFailure};
pub use inspect::inspect;
pub(crate) use keys::{KeyEntry, check_requirements};
pub use options::{ProgressSink, VerifyOptions};
pub use parts::{Part, Parts, parts};
pub use proof::proof_of;
pub(crate) use proof::read_proof_of;
pub use requirement::{Requirement, ShapePattern, parse_requirements};
pub use version::check_version;

/// Checks the checkpoint at `path` and reports.
///
/// The path is a file, a shard index (`*.index.json`), the directory of a Hugging Face Trainer, of
/// `torch.distributed.checkpoint` (or its `.metadata`), or that of a managed checkpoint.
/// A damaged checkpoint is no error here: the report says so.
///
/// Links are followed. The file is read, nothing of it is executed, and nothing is written.
pub fn verify(path: &Path, options: &VerifyOptions) -> Report {
    let start = Instant::now();
    let checked = if path.is_dir() {
        directory::check(path, options)
    } else if names::is_shard_index(path) {
        sharded::check(path, options)
    } else {
        dcp::check_part(path, options).unwrap_or_else(|| file::check(path, options))
    };
    report(path, checked, options, start)
}

/// Checks what is behind an open source, as [`verify`] checks a file: a file that was written and hasn't its
/// name yet. Markers and seals are not asked for, nothing is looked up at any path, and `name` decides nothing
/// but what it promises.
///
/// ```
/// use std::path::Path;
/// use ckpt::{Verdict, VerifyOptions, validate::verify_source};
///
/// let report = verify_source(Path::new("model.pt"), &b"no checkpoint".to_vec(), &VerifyOptions::default());
/// assert_eq!(report.verdict, Verdict::Incompatible);
/// ```
pub fn verify_source(name: &Path, source: &dyn ScanSource, options: &VerifyOptions) -> Report {
    let start = Instant::now();
    report(name, file::check_source(name, source, options), options, start)
}

/// Checks every file of a directory that has a seal, those in the directories below it included: that it is there, and
/// that its bytes are the sealed ones. What the files are is of no interest here.
///
/// This is for the directories of programs whose layout [`verify`] doesn't know.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// use ckpt::Verdict;
/// use ckpt::save::{SealOptions, seal};
/// use ckpt::validate::verify_sealed;
///
/// let path = directory.path().join("sampler.json");
/// std::fs::write(&path, "{\"position\": 7}")?;
/// seal(&path, &SealOptions::default())?;
/// assert_eq!(verify_sealed(directory.path(), &Default::default()).verdict, Verdict::Valid);
/// std::fs::write(&path, "{\"position\": 8}")?;
/// assert_eq!(verify_sealed(directory.path(), &Default::default()).verdict, Verdict::Corrupted);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_sealed(directory: &Path, options: &VerifyOptions) -> Report {
    let start = Instant::now();
    report(directory, sealed::check_all(directory, options), options, start)
}

/// Makes the report of a check that began at `start`; the level `keys` comes last.
fn report(path: &Path, checked: Checked, options: &VerifyOptions, start: Instant) -> Report {
    let mut report = Report::new(path.to_owned(), checked.format, checked.level);
    report.bytes = checked.bytes;
    report.integrity = checked.integrity;
    report.tensors = checked.contents.as_ref().map(|contents| contents.tensors.len() as u64);
    report.add(checked.findings);
    if let (Some(contents), Level::Keys) = (&checked.contents, options.level) {
        report.add(keys::check_contents(contents, options));
        report.reach(Level::Keys);
    }
    report.elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}
