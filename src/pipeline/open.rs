//! Opening a pipeline: how things stand, before anything is done.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::checkpoints::Checkpoints;
use super::lease::Lease;
use super::place::Place;
use super::read::{Found, find};
use super::stale::Origin;
use super::{Notice, OnStale, Pipeline, PipelineOptions, Stage};
use crate::Error;
use crate::io::commit::{Disk, clean, set_aside};
use crate::record::{PipelineState, StageRecord, StageStatus, quoted};

impl Pipeline {
    /// Opens a pipeline of these stages, or of those that its state knows; no output is looked at.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::open`].
    pub(super) fn opened(
        disk: Arc<dyn Disk>,
        state_file: &Path,
        stages: Option<Vec<Stage>>,
        options: PipelineOptions,
    ) -> Result<Self, Error> {
        check_names(stages.iter().flatten())?;
        let place = Place::of(disk, state_file)?;
        place.make()?;
        let lease = Lease::take(&place, options.holder.as_deref())?;
        clean(place.disk(), place.base());
        let mut notices = Vec::new();
        if !lease.is_sure() {
            notices.push(Notice::UnsureLease);
        }
        let (mut state, is_migrated) = current(&place, &options, &mut notices)?;
        check_name(&place, &state, &options)?;
        refresh(&place, &mut state, &options, &mut notices)?;
        let stages = match stages {
            Some(stages) => stages,
            None => state.stages.iter().map(|stage| Stage::new(stage.name.as_str())).collect(),
        };
        arrange(&mut state, &stages, &mut notices);
        state.metadata.extend(options.metadata);
        let checkpoints = Checkpoints::new(&place);
        let (level, looked) = (options.level, HashMap::new());
        let is_touched = false;
        let mut pipeline = Self {
            place,
            stages,
            state,
            notices,
            checkpoints,
            level,
            looked,
            is_migrated,
            is_touched,
            lease,
        };
        pipeline.adopt()?;
        Ok(pipeline)
    }

    /// Takes note of a stage whose checkpoint was committed, and whose process ended before the state was written.
    fn adopt(&mut self) -> Result<(), Error> {
        let at_work = |record: &StageRecord| record.status == StageStatus::InProgress;
        let Some(number) = self.state.stages.iter().position(at_work) else { return Ok(()) };
        let Some(record) = self.state.stages.get(number) else { return Ok(()) };
        let Some(found) = self.checkpoints.find(&self.state.name, number, record) else { return Ok(()) };
        let checkpoint = found.checkpoint;
        let stage = found.name.clone();
        if let Some(record) = self.state.stages.get_mut(number) {
            *record = found;
        }
        self.notices.extend(checkpoint.map(|checkpoint| Notice::Adopted { stage, checkpoint }));
        self.write()
    }
}

/// Returns the state to go on from, and whether it is an older one. One that can't be used is set aside.
fn current(
    place: &Place,
    options: &PipelineOptions,
    notices: &mut Vec<Notice>,
) -> Result<(PipelineState, bool), Error> {
    let name = || options.name.clone().unwrap_or_else(|| place.default_name());
    Ok(match find(place)? {
        Found::Nothing => (PipelineState::new(name()), false),
        Found::State(state) => (state, false),
        Found::Migrated(mut state) => {
            state.name = name();
            notices.push(Notice::Migrated { stages: state.stages_complete.clone() });
            (state, true)
        }
        Found::Corrupt(why) => {
            let path = set_aside(place.disk(), place.state(), Timestamp::now())?;
            notices.push(Notice::SetAside { path, why });
            (PipelineState::new(name()), false)
        }
    })
}

/// Refuses the state of another pipeline.
fn check_name(place: &Place, state: &PipelineState, options: &PipelineOptions) -> Result<(), Error> {
    match &options.name {
        Some(name) if *name != state.name => {
            let (own, name) = (quoted(&state.name), quoted(name));
            let message =
                format!("it is the state of the pipeline {own}, and not of {name}: name another file");
            Err(Error::incompatible(message).at(place.state()))
        }
        _ => Ok(()),
    }
}

/// Holds the state against what the pipeline is made from now, and begins anew where that is asked for.
fn refresh(
    place: &Place,
    state: &mut PipelineState,
    options: &PipelineOptions,
    notices: &mut Vec<Notice>,
) -> Result<(), Error> {
    let origin = Origin::now(place, options, state)?;
    let is_begun = state.stages.iter().any(|stage| stage.status != StageStatus::NotStarted);
    let what = if is_begun { origin.differs_from(state) } else { Vec::new() };
    let restarts = options.force_restart || (!what.is_empty() && options.on_stale == OnStale::Restart);
    if what.is_empty() {
        notices.extend((options.force_restart && is_begun).then_some(Notice::Restarted));
    } else if !restarts && options.on_stale == OnStale::Refuse {
        let message = format!(
            "{}; begin anew with --force-restart, or go on even so with --force-resume (in a program: `OnStale`)",
            what.join("; ")
        );
        return Err(Error::incompatible(message).at(place.state()));
    } else {
        notices.push(Notice::Stale { what, restarted: restarts });
    }
    if restarts {
        start_anew(state);
    }
    origin.put_into(state);
    Ok(())
}

/// Makes a state one of which nothing is done. The stages, and how often each was begun, stay.
fn start_anew(state: &mut PipelineState) {
    for stage in &mut state.stages {
        undo(stage);
    }
    (state.source, state.config) = (None, None);
    state.sum_up();
}

/// Makes a stage one that wasn't begun. How often it was stays, so that every attempt has a number of its own.
pub(super) fn undo(stage: &mut StageRecord) {
    let attempts = stage.attempts;
    *stage = StageRecord { attempts, ..StageRecord::new(std::mem::take(&mut stage.name)) };
}

/// Puts the state's stages in the pipeline's order, and forgets those that it doesn't have any more.
fn arrange(state: &mut PipelineState, stages: &[Stage], notices: &mut Vec<Notice>) {
    let mut known = std::mem::take(&mut state.stages);
    for stage in stages {
        let place = known.iter().position(|record| record.name == stage.name);
        state.stages.push(place.map_or_else(|| StageRecord::new(stage.name.as_str()), |at| known.remove(at)));
    }
    notices.extend(known.into_iter().map(|record| Notice::Dropped { stage: record.name }));
    state.sum_up();
}

/// Refuses stages without a name, and two of one name.
pub(super) fn check_names<'s>(stages: impl IntoIterator<Item = &'s Stage>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for Stage { name, .. } in stages {
        if name.is_empty() || name.contains(char::is_control) {
            let message = format!("{} can't be the name of a stage: use letters and digits", quoted(name));
            return Err(Error::usage(message));
        }
        if !seen.insert(name.as_str()) {
            return Err(Error::usage(format!(
                "two stages are called {}: each has a name of its own",
                quoted(name)
            )));
        }
    }
    Ok(())
}
