//! A Hugging Face Trainer's directory, `checkpoint-N/`: weights, optimizer, scheduler and random state
//! are one checkpoint.

use std::path::Path;

use super::contents::Checked;
use super::file::{self, flaw_finding};
use super::{VerifyOptions, sealed, sharded};
use crate::format::hugging_face::{Artifact, Role, checkpoint_step, read_trainer_state, trainer_artifacts};
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
    sealed::check(directory, &holds_its_seal, options, &mut checked);
    checked.merge_notes("files");
    checked
}

/// Returns whether a file was held against its seal when it was checked by its role.
fn holds_its_seal(name: &str) -> bool {
    !matches!(Role::of(name), Role::Other | Role::Engine | Role::TrainerState | Role::WeightsIndex)
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
    match std::fs::read(path).map_err(Into::into).and_then(|bytes| read_trainer_state(&bytes)) {
        Ok(state) => checked.findings.extend(check_step(directory, state.global_step)),
        Err(flaw) => checked.findings.push(flaw_finding(flaw, Level::Container)),
    }
    checked
}

/// The directory is named after the step; another one in it means that files of two were mixed.
fn check_step(directory: &Path, step: u64) -> Option<Finding> {
    let named = checkpoint_step(directory.file_name()?.to_str()?)?;
    (named != step).then(|| {
        let message = format!("the directory is named after step {named}, and its state is of step {step}");
        Finding::incompatible(Code::IndexDisagrees, Level::Container, message)
    })
}
