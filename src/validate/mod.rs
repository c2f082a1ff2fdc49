//! Judgement: the four levels, and what they make of a file.

mod batch;
mod discover;
mod history;
mod inspect;
mod options;
mod requirement;

use std::path::Path;

use crate::record::{FormatKind, Report};

pub use batch::Batch;
pub use discover::{Candidate, Discovery, Look, discover};
pub use history::{History, PastFailure};
pub use inspect::inspect;
pub use options::{ProgressSink, VerifyOptions};
pub use requirement::{Requirement, parse_requirements};

/// Checks the checkpoint at `path` and reports.
///
/// The path is a file, a shard index (`*.index.json`), or the directory of a Hugging Face Trainer.
/// A damaged checkpoint is no error here: the report says so.
pub fn verify(path: &Path, options: &VerifyOptions) -> Report {
    Report::new(path.to_owned(), FormatKind::Unknown, Some(options.level))
}
