//! The seals in a directory: each vouches for a file, whatever that is, which must be there.

use std::fs;
use std::io;
use std::path::Path;

use super::contents::Checked;
use super::size::unreadable;
use super::watched::Watched;
use super::{VerifyOptions, blocks, size};
use crate::format::hugging_face::checkpoint_step;
use crate::io::FileSource;
use crate::io::commit::is_temporary;
use crate::record::{Code, Finding, FormatKind, Integrity, Level, Seal};

/// How deep directories are looked into: those of training engines lie two deep.
const MAX_DEPTH: u32 = 16;

/// What is done with a sealed file beside holding it against its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// Nothing.
    Unchecked,
    /// It is checked by its role, but not held against its seal. Its size is counted there, and held to the seal's.
    Checked,
    /// It is checked by its role, and held against its seal: it must be there, and that is all.
    Held,
}

/// Checks a directory by its seals alone.
pub(super) fn check_all(directory: &Path, options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::Directory, Some(Level::Size));
    if check(directory, &|_| Otherwise::Unchecked, options, &mut checked) == 0 && !checked.failed() {
        let message = "nothing in the directory is sealed, so that nothing can be said of it";
        checked.findings.push(Finding::incompatible(Code::NotRegular, Level::Size, message));
    }
    checked.merge_notes("files");
    checked
}

/// Checks the sealed files of a directory. `otherwise` says of a name, relative to it, what else is done with the file.
/// Returns how many seals there are.
pub(super) fn check(
    directory: &Path,
    otherwise: &dyn Fn(&str) -> Otherwise,
    options: &VerifyOptions,
    checked: &mut Checked,
) -> usize {
    let mut sealed = Vec::new();
    if let Err(error) = collect(directory, "", MAX_DEPTH, &mut sealed) {
        checked.findings.push(unreadable(Level::Size, &error));
    }
    for name in &sealed {
        let path = directory.join(name);
        match path.try_exists() {
            Ok(true) => match otherwise(name) {
                Otherwise::Held => {}
                Otherwise::Checked => {
                    let mut part = hold(&path, options);
                    part.bytes = 0;
                    part.findings.retain(|finding| finding.level > Level::Size);
                    checked.absorb(name, part);
                }
                Otherwise::Unchecked => checked.absorb(name, hold(&path, options)),
            },
            Ok(false) => {
                let message = "it was sealed as a part of the checkpoint, and is missing";
                let finding = Finding::corrupted(Code::ArtifactMissing, Level::Size, message);
                checked.findings.push(finding.at_file(name));
            }
            Err(error) => checked.findings.push(unreadable(Level::Size, &error).at_file(name)),
        }
    }
    sealed.len()
}

/// Finds the names of what has a seal, in order. Checkpoints in directories of their own, and what is on its way, are
/// no parts of this one.
fn collect(directory: &Path, prefix: &str, depth: u32, sealed: &mut Vec<String>) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let own = entry.file_name();
        let name = format!("{prefix}{}", own.to_string_lossy());
        if entry.file_type()?.is_dir() {
            let is_other = is_temporary(&own) || checkpoint_step(&own.to_string_lossy()).is_some();
            if depth > 0 && !is_other {
                collect(&entry.path(), &format!("{name}/"), depth - 1, sealed)?;
            }
        } else if let Some(name) = name.strip_suffix(Seal::SUFFIX) {
            sealed.push(name.to_owned());
        }
    }
    Ok(())
}

/// Holds one file against its seal.
fn hold(path: &Path, options: &VerifyOptions) -> Checked {
    // Whatever it is: its bytes have a say in how much was proven.
    let mut part = Checked::new(FormatKind::Unknown, Some(Level::Size));
    let sized = size::check(path, &VerifyOptions { require_marker: false, ..options.clone() });
    part.bytes = sized.bytes;
    part.findings = sized.findings;
    if part.failed() || options.skip_contents || options.level < Level::Load {
        return part;
    }
    part.level = Some(Level::Load);
    let opened = if options.fresh { FileSource::open_fresh(path) } else { FileSource::open(path) };
    match (opened, sized.beside.seal) {
        (Ok(source), Some(seal)) => {
            blocks::check_seal(&Watched::new(&source, options), &seal, options, &mut part);
        }
        (Err(error), _) => part.findings.push(unreadable(Level::Load, &error)),
        // The seal is damaged: a note says so, and nothing was proven.
        (Ok(_), None) => part.integrity = Integrity::None,
    }
    part
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::Verdict;
    use crate::io::Cancel;
    use crate::save::{SealOptions, seal};
    use crate::validate::{ProgressSink, verify_sealed};

    fn sealed() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("engine")).unwrap();
        for (name, text) in [("config.json", "{\"a\": 1}"), ("engine/rank.bin", "0123456789")] {
            fs::write(place.path().join(name), text).unwrap();
            seal(&place.path().join(name), &SealOptions::default()).unwrap();
        }
        place
    }

    fn verdict(place: &Path) -> Verdict {
        verify_sealed(place, &VerifyOptions::default()).verdict
    }

    #[test]
    fn sealed_files_are_held_also_below() {
        let place = sealed();
        let report = verify_sealed(place.path(), &VerifyOptions::default());
        assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::Full));
        fs::write(place.path().join("engine/rank.bin"), "0123456780").unwrap();
        assert_eq!(verdict(place.path()), Verdict::Corrupted);
        let quick = VerifyOptions::default().with_level(Level::Size);
        assert_eq!(verify_sealed(place.path(), &quick).verdict, Verdict::Valid, "the size is the same");
    }

    #[test]
    fn what_was_sealed_and_is_gone_is_missed() {
        let place = sealed();
        fs::remove_file(place.path().join("config.json")).unwrap();
        let report = verify_sealed(place.path(), &VerifyOptions::default().with_level(Level::Size));
        assert_eq!(report.verdict, Verdict::Corrupted);
        assert_eq!(report.reason().unwrap().at.file.as_deref(), Some(Path::new("config.json")));
    }

    #[test]
    fn every_read_is_told_of_and_none_is_made_once_it_is_cancelled() {
        let place = sealed();
        let heard = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&heard);
        let reads = ProgressSink::new(move |bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed);
        });
        let cancel = Cancel::default();
        let options = VerifyOptions { reads: Some(reads), ..VerifyOptions::default() };
        let options = options.with_cancel(cancel.clone());
        assert_eq!(verify_sealed(place.path(), &options).verdict, Verdict::Valid);
        assert_eq!(heard.load(Ordering::Relaxed), 18, "the bytes of both files");
        cancel.cancel();
        let report = verify_sealed(place.path(), &options);
        assert_eq!(report.verdict, Verdict::Unreadable);
        assert_eq!(report.reason().unwrap().code, Code::Cancelled);
        assert_eq!(heard.load(Ordering::Relaxed), 18);
    }

    #[test]
    fn without_a_seal_nothing_is_said() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(verdict(place.path()), Verdict::Incompatible);
        assert_eq!(verdict(&place.path().join("none")), Verdict::Unreadable);
    }
}
