//! What every save is followed by, in the background or not.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::background::SaverOptions;
use super::keeper::{Keeper, Named};
use super::retention::{Candidate, Plan, Policy, Pruned, plan};
use super::triggers::Triggers;
use super::{Committed, Event, ManagerOptions, Resumed, Run, SaveRequest, Semantic, survey};
use crate::record::{CheckpointId, CheckpointStanding, Level};
use crate::tensor::State;
use crate::validate::VerifyOptions;
use crate::{Error, ErrorKind};

/// What the manager shares with the thread that saves for it.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) keeper: Keeper,
    pub(super) saver: SaverOptions,
    retention: Option<Policy>,
    semantic: Mutex<Semantic>,
    triggers: Mutex<Triggers>,
    /// The names of the saves that aren't over.
    open: Mutex<HashMap<CheckpointId, Named>>,
    /// What a resume has skipped: damage that a look at the head doesn't show.
    distrusted: Mutex<BTreeSet<CheckpointId>>,
    /// Why old checkpoints stay that should go, where nobody listens.
    unheard: Mutex<Option<Error>>,
}

impl Work {
    pub(super) fn new(run: Run, options: ManagerOptions) -> Result<Self, Error> {
        let ManagerOptions { commit, saver, retention, triggers, semantic } = options;
        if let Some(policy) = &retention {
            policy.check()?;
        }
        Ok(Self {
            keeper: Keeper::new(run, commit),
            saver,
            retention,
            semantic: Mutex::new(semantic),
            triggers: Mutex::new(Triggers::new(&triggers)?),
            open: Mutex::default(),
            distrusted: Mutex::default(),
            unheard: Mutex::default(),
        })
    }

    pub(super) fn triggers(&self) -> MutexGuard<'_, Triggers> {
        lock(&self.triggers)
    }

    /// Gives a save its name.
    ///
    /// # Errors
    ///
    /// As [`Keeper::name`].
    pub(super) fn begin(&self, step: u64) -> Result<CheckpointId, Error> {
        let named = self.keeper.name(step)?;
        let id = named.id;
        lock(&self.open).insert(id, named);
        Ok(id)
    }

    /// Saves the checkpoint of a name that was asked for at `since`, and looks whether anything is odd about it.
    ///
    /// # Errors
    ///
    /// As [`Keeper::commit`].
    pub(super) fn commit(
        &self,
        id: CheckpointId,
        since: Instant,
        request: &SaveRequest,
        state: &State<'_>,
    ) -> Result<Committed, Error> {
        let named = lock(&self.open).get(&id).cloned();
        let named = named.ok_or_else(|| Error::usage(format!("{id}: this save is over")))?;
        let committed = self.keeper.commit(&named, request, state);
        let mut committed = committed.map_err(|error| self.without_retry(id, error))?;
        let notices = lock(&self.semantic).at(&committed, state);
        committed.notices.extend(notices);
        self.triggers().saved(id.step, since.elapsed());
        Ok(committed)
    }

    /// Takes away that an error may pass, where the checkpoint has its name by now: it can't be saved again, and whether
    /// it would survive a loss of power isn't known.
    fn without_retry(&self, id: CheckpointId, error: Error) -> Error {
        let path = self.keeper.run().path(id);
        let is_there = matches!(self.keeper.run().disk().stat(&path), Ok(Some(_)));
        if error.kind() != ErrorKind::Io || !is_there {
            return error;
        }
        Error::usage(format!("it has its name, and may not be durable: {error}")).at(path)
    }

    /// Ends a save, well or not. Where it is durable, removes what may go then.
    pub(super) fn end(&self, id: CheckpointId, is_saved: bool) {
        let named = lock(&self.open).remove(&id);
        if is_saved {
            // What isn't durable takes nobody's place.
            if self.keeper.is_durable() {
                self.retain();
            }
        } else {
            self.triggers().skipped(id.step);
            if let Some(named) = named {
                self.keeper.give_back(&named);
            }
        }
    }

    /// Takes note of what the work went on from, and of what it didn't.
    pub(super) fn resumed(&self, resumed: &Resumed) {
        self.keeper.resumed(resumed.id);
        self.triggers().resumed(resumed.id.step);
        lock(&self.distrusted).extend(resumed.skipped.iter().map(|skipped| skipped.id));
    }

    /// Returns, once, why old checkpoints stay that should have gone, where there is no reporter to hear it.
    ///
    /// # Errors
    ///
    /// That.
    pub(super) fn tell_unheard(&self) -> Result<(), Error> {
        lock(&self.unheard).take().map_or(Ok(()), Err)
    }

    /// Removes what the manager's own policy lets go. An error fails no save: what was saved is saved.
    fn retain(&self) {
        let Some(policy) = &self.retention else { return };
        let (removed, error) = match self.plan(policy).and_then(refuse_unmeasured) {
            Ok(plan) => {
                let Pruned { removed, failed } = self.apply(&plan);
                (removed, failed.map(|(_, error)| error))
            }
            Err(error) => (Vec::new(), Some(error)),
        };
        if !removed.is_empty() || error.is_some() {
            self.saver.tell(&Event::Pruned { removed: &removed, error: error.as_ref() });
        }
        if self.saver.reporter.is_none() {
            *lock(&self.unheard) = error;
        }
    }

    /// Decides what may go. Each checkpoint is looked at anew, at the cost of its header: what has become
    /// shorter, or lost a file, doesn't count any more.
    ///
    /// # Errors
    ///
    /// The run can't be listed, or as [`plan()`].
    pub(super) fn plan(&self, policy: &Policy) -> Result<Plan, Error> {
        let options = VerifyOptions::default().with_level(Level::Container);
        let mut candidates: Vec<Candidate> =
            survey(self.keeper.run(), &options)?.iter().map(Candidate::from).collect();
        let distrusted = lock(&self.distrusted);
        for candidate in candidates.iter_mut().filter(|candidate| distrusted.contains(&candidate.id)) {
            if candidate.standing == CheckpointStanding::Good {
                candidate.standing = CheckpointStanding::Unverified;
            }
        }
        plan(&candidates, policy)
    }

    /// Removes what a plan lets go.
    pub(super) fn apply(&self, plan: &Plan) -> Pruned {
        plan.apply(|id| self.keeper.run().remove(id).map(drop))
    }
}

/// Refuses a plan by a metric that no good checkpoint has: it may be a typing error, and what goes is gone.
fn refuse_unmeasured(plan: Plan) -> Result<Plan, Error> {
    match plan.unmeasured.first() {
        Some(metric) if plan.removals().next().is_some() => Err(Error::usage(format!(
            "nothing is removed: the policy goes by the metric '{}', which no good checkpoint has",
            metric.escape_debug()
        ))),
        _ => Ok(plan),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
