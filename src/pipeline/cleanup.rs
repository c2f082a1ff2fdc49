//! Files that aren't needed any more: planned first, and then removed.

use std::collections::HashSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::look::{self, Fault};
use super::{Pipeline, place::Place};
use crate::Error;
use crate::io::commit::{remove_directory, remove_durably};
use crate::record::{CleanupEntry, CleanupReason, FileRecord, Level, Lifetime, PipelineStatus, StageRecord};

/// What becomes of the outputs of a pipeline's stages. Nothing is touched by making it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CleanupPlan {
    /// The outputs that are there, in the order of the stages.
    pub files: Vec<CleanupEntry>,
}

impl CleanupPlan {
    /// Returns what goes.
    pub fn removals(&self) -> impl Iterator<Item = &CleanupEntry> {
        self.files.iter().filter(|file| file.remove)
    }

    /// Returns how many bytes that frees.
    pub fn freed_bytes(&self) -> u64 {
        self.removals().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

impl Pipeline {
    /// Decides which outputs aren't needed any more, by their declared lifetimes, and touches none. Outputs that are gone
    /// aren't listed.
    pub fn plan_cleanup(&self) -> CleanupPlan {
        let mut files = Vec::new();
        for stage in self.state.stages.iter().filter(|stage| stage.is_complete()) {
            files.extend(stage.outputs.iter().filter_map(|output| self.entry(stage, output)));
        }
        CleanupPlan { files }
    }

    /// Removes what a plan lets go, and returns what was removed. A file that is another one by now stays. The state says
    /// first that they are gone, so that no stage is done anew for it.
    ///
    /// # Errors
    ///
    /// The state can't be written: nothing is removed then. Or a file can't be removed: those before it are gone.
    pub fn clean_up(&mut self, plan: &CleanupPlan) -> Result<Vec<PathBuf>, Error> {
        let mut goes: Vec<FileRecord> = Vec::new();
        // What holds now counts, and not what held when the plan was made.
        let now = self.plan_cleanup();
        let both = |entry: &&CleanupEntry| plan.removals().any(|planned| planned.path == entry.path);
        let paths: HashSet<String> = now.removals().filter(both).map(|entry| entry.path.clone()).collect();
        let time = Timestamp::now();
        for output in self.state.stages.iter_mut().flat_map(|stage| &mut stage.outputs) {
            if paths.contains(&output.path) {
                output.removed = Some(output.removed.unwrap_or(time));
                goes.push(output.clone());
            }
        }
        if goes.is_empty() {
            return Ok(Vec::new());
        }
        self.write()?;
        let mut removed = Vec::new();
        for output in goes {
            let path = self.place.file(&output.path);
            if remove(&self.place, &output, &path)? {
                removed.push(path);
            }
        }
        Ok(removed)
    }

    /// Returns what becomes of an output; `None` where it is gone.
    fn entry(&self, stage: &StageRecord, output: &FileRecord) -> Option<CleanupEntry> {
        let reason = match look::check(&self.place, output, Level::Size) {
            Err(Fault::Gone) => return None,
            Err(Fault::Changed(how) | Fault::Unreadable(how)) if output.lifetime != Lifetime::Keep => {
                CleanupReason::Changed { how }
            }
            _ => self.reason(stage, output),
        };
        Some(CleanupEntry::new(&stage.name, &output.path, output.bytes, reason))
    }

    /// Returns why an output goes or stays that is as its stage left it.
    fn reason(&self, stage: &StageRecord, output: &FileRecord) -> CleanupReason {
        if output.lifetime == Lifetime::Keep {
            return CleanupReason::Kept;
        }
        if self.state.source.as_ref().is_some_and(|source| self.overlaps(&source.path, output)) {
            return CleanupReason::Needed { by: "the pipeline, which is made from it".to_owned() };
        }
        let others = self.state.stages.iter().filter(|other| other.name != stage.name);
        let keeps = |other: &&StageRecord| {
            let kept = other.outputs.iter().filter(|kept| kept.lifetime == Lifetime::Keep);
            kept.into_iter().any(|kept| self.overlaps(&kept.path, output))
        };
        if let Some(other) = others.into_iter().find(keeps) {
            return CleanupReason::Needed { by: other.name.clone() };
        }
        match output.lifetime {
            Lifetime::UntilCompleted if self.state.status == PipelineStatus::Completed => {
                CleanupReason::Completed
            }
            Lifetime::UntilConsumed => self.consumption(output),
            _ => CleanupReason::NotCompleted,
        }
    }

    /// Returns whether the stages that read an output are all done.
    fn consumption(&self, output: &FileRecord) -> CleanupReason {
        let is_named = |path: &PathBuf| self.place.named(path).is_ok_and(|path| self.overlaps(&path, output));
        let mut readers = self.stages.iter().zip(&self.state.stages).filter(|(stage, record)| {
            record.inputs.iter().any(|input| self.overlaps(&input.path, output))
                || stage.inputs.iter().any(is_named)
        });
        let mut is_read = false;
        match readers.find(|(_, record)| {
            is_read = true;
            !record.is_complete()
        }) {
            Some((stage, _)) => CleanupReason::Needed { by: stage.name.clone() },
            None if is_read => CleanupReason::Consumed,
            None => CleanupReason::NotRead,
        }
    }

    /// Returns whether a path is that of an output, or one of the two lies in the other.
    fn overlaps(&self, path: &str, output: &FileRecord) -> bool {
        let (one, other) = (self.place.file(path), self.place.file(&output.path));
        one.starts_with(&other) || other.starts_with(&one)
    }
}

/// Removes an output, and returns whether it was there.
fn remove(place: &Place, output: &FileRecord, path: &std::path::Path) -> Result<bool, Error> {
    if output.files.is_none() {
        return remove_durably(place.disk(), path);
    }
    let resolved = place.disk().resolve(path).map_err(|error| Error::io(path, "find it", error))?;
    remove_directory(place.disk(), &resolved)
}
