//! A Hugging Face Trainer's directory, `checkpoint-N/`: weights, optimizer, scheduler and random state
//! are one checkpoint.

use std::path::Path;

use super::contents::Checked;
use super::file::{self, flaw_finding};
use super::sealed::Otherwise;
use super::watched::Watched;
use super::{VerifyOptions, sealed, sharded};
use crate::format::hugging_face::{Artifact, Role, checkpoint_step, read_trainer_state, trainer_artifacts};
use crate::format::{Flaw, read_vec};
use crate::io::{FileSource, ReadAt as _};
use crate::record::{Code, Finding, FormatKind, Level};

/// The state file holds the log of the whole training: megabytes, at most.
const MAX_STATE_BYTES: u64 = 1 << 30;

/// Checks the directory's files, each by its role. The weights are the contents that keys are asked of.
pub(super) fn check(directory: &Path, names: &[String], options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::HuggingFaceTrainer, Some(Level::Size));
    let found = trainer_artifacts(names);
    checked.findings.extend(found.findings);
    let sharded = found.artifacts.iter().any(|artifact| artifact.role == Role::WeightsIndex);
    // The shards are checked with their index; an engine's own files aren't checked at all.
    let skipped = |role| role == Role::Engine || (role == Role::WeightsShard && sharded);
    for artifact in found.artifacts.iter().filter(|artifact| !skipped(artifact.role)) {
        let mut part = check_artifact(directory, artifact, options);
        if matches!(artifact.role, Role::Weights | Role::WeightsIndex | Role::Adapter) {
            checked.contents = part.contents.take();
        }
        checked.absorb(&artifact.name, part);
    }
    // A seal makes the rest provable: JSON, a tokenizer, what an engine wrote.
    sealed::check(directory, &|name| otherwise(Role::of(name)), options, &mut checked);
    checked.merge_notes("files");
    checked
}

/// Returns what is done with a sealed file of a role beside holding it against its seal.
fn otherwise(role: Role) -> Otherwise {
    match role {
        Role::Other | Role::Engine => Otherwise::Unchecked,
        Role::TrainerState | Role::WeightsIndex => Otherwise::Checked,
        _ => Otherwise::Held,
    }
}

/// Checks one file. `training_args.bin` holds a Python object by nature and is asked only to be intact.
fn check_artifact(directory: &Path, artifact: &Artifact, options: &VerifyOptions) -> Checked {
    let path = directory.join(&artifact.name);
    match artifact.role {
        Role::WeightsIndex => sharded::check(&path, options),
        Role::TrainerState => check_state(directory, &path, options),
        role => {
            let mut checked = file::check(&path, options);
            if role.needs_trust() {
                checked.settle_for_intact();
            }
            checked
        }
    }
}

/// Checks `trainer_state.json`: that it can be read, and that it is of the step the directory is named after.
fn check_state(directory: &Path, path: &Path, options: &VerifyOptions) -> Checked {
    let mut checked = Checked::new(FormatKind::Json, Some(Level::Size));
    let sized = super::size::check(path, options);
    checked.bytes = sized.bytes;
    // The marker that may be required is that of the checkpoint, not of each of its JSON files.
    checked.findings =
        sized.findings.into_iter().filter(|finding| finding.code != Code::MarkerMissing).collect();
    if checked.failed() || options.skip_contents || options.level == Level::Size {
        return checked;
    }
    if sized.bytes > MAX_STATE_BYTES {
        let message = format!("the state has {} bytes; the limit is {MAX_STATE_BYTES}", sized.bytes);
        checked.findings.push(Finding::incompatible(Code::TooComplex, Level::Container, message));
        return checked;
    }
    match read(path, options).and_then(|bytes| read_trainer_state(&bytes)) {
        Ok(state) => checked.findings.extend(check_step(directory, state.global_step)),
        Err(flaw) => checked.findings.push(flaw_finding(flaw, Level::Container)),
    }
    checked
}

/// Reads a small file whole.
fn read(path: &Path, options: &VerifyOptions) -> Result<Vec<u8>, Flaw> {
    let source = FileSource::open(path)?;
    let watched = Watched::new(&source, options);
    Ok(read_vec(&watched, 0..watched.len())?)
}

/// The directory is named after the step; another one in it means that files of two were mixed.
fn check_step(directory: &Path, step: u64) -> Option<Finding> {
    let named = checkpoint_step(directory.file_name()?.to_str()?)?;
    (named != step).then(|| {
        let message = format!("the directory is named after step {named}, and its state is of step {step}");
        Finding::incompatible(Code::IndexDisagrees, Level::Container, message)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::Cancel;
    use crate::save::{SealOptions, save, seal};
    use crate::tensor::State;
    use crate::{SaveOptions, Verdict, verify};

    /// A directory that a trainer might leave, whose position is sealed.
    fn sealed() -> (tempfile::TempDir, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("checkpoint-7");
        fs::create_dir(&directory).unwrap();
        let weights = SaveOptions::default().with_metadata("filler", "x".repeat(100));
        save(&directory.join("model.safetensors"), &State::new(), &weights).unwrap();
        fs::write(directory.join("trainer_state.json"), "{\"global_step\": 7}").unwrap();
        seal(&directory.join("trainer_state.json"), &SealOptions::default()).unwrap();
        (place, directory)
    }

    fn check(directory: &Path) -> crate::Report {
        verify(directory, &VerifyOptions::default())
    }

    #[test]
    fn a_sealed_file_counts_once() {
        let (_place, directory) = sealed();
        let size = |name: &str| fs::metadata(directory.join(name)).unwrap().len();
        assert_eq!(check(&directory).bytes, size("model.safetensors") + size("trainer_state.json"));
    }

    #[test]
    fn what_is_wrong_with_a_sealed_file_is_said_once() {
        let (_place, directory) = sealed();
        let failures = |text: &str| {
            fs::write(directory.join("trainer_state.json"), text).unwrap();
            let report = check(&directory);
            let failures = report.findings.into_iter().filter(Finding::is_failure);
            failures.map(|finding| finding.code).collect::<Vec<_>>()
        };
        // A space is another, and the JSON is the same.
        assert_eq!(failures("{\"global_step\":\t7}"), [Code::ChecksumMismatch]);
        assert_eq!(failures("{\"global_step\": 7} "), [Code::SizeMismatch]);
        assert_eq!(failures("{\"global_step\": 7}"), []);
    }

    #[test]
    fn a_check_that_is_cancelled_reads_no_position() {
        let (_place, directory) = sealed();
        let cancel = Cancel::default();
        cancel.cancel();
        let state = directory.join("trainer_state.json");
        let checked = check_state(&directory, &state, &VerifyOptions::default().with_cancel(cancel));
        let codes: Vec<_> = checked.findings.iter().map(|finding| finding.code).collect();
        assert_eq!((codes, checked.failed()), (vec![Code::Cancelled], true));
        assert_eq!(check(&directory).verdict, Verdict::Valid);
    }
}
