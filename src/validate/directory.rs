//! A directory that is one checkpoint.

use std::path::Path;

use super::VerifyOptions;
use super::contents::Checked;
use super::size::missing;
use super::trainer;
use crate::format::hugging_face::is_trainer_directory;
use crate::record::{Code, Finding, FormatKind, Level};

/// The file that makes a directory a `torch.distributed.checkpoint`.
const DISTRIBUTED_METADATA: &str = ".metadata";

/// Checks a directory. Only a Trainer's is one checkpoint; of any other the caller is told to name the files.
pub(super) fn check(path: &Path, options: &VerifyOptions) -> Checked {
    let names = match file_names(path) {
        Ok(names) => names,
        Err(error) => {
            let mut checked = Checked::new(FormatKind::Directory, None);
            checked.findings.push(missing(&error));
            return checked;
        }
    };
    if is_trainer_directory(&names) {
        return trainer::check(path, &names, options);
    }
    let (kind, code, message) = if names.iter().any(|name| name == DISTRIBUTED_METADATA) {
        let message =
            "a torch.distributed checkpoint: its pickled metadata needs trust, and it isn't checked";
        (FormatKind::TorchDistributed, Code::ForeignFormat, message)
    } else {
        (FormatKind::Directory, Code::NotRegular, "the directory as a whole is no checkpoint")
    };
    let mut checked = Checked::new(kind, Some(Level::Size));
    checked.findings.push(Finding::incompatible(code, Level::Size, message));
    checked
}

/// The names in a directory, in order.
fn file_names(path: &Path) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
