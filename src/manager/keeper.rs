//! Who writes to a run: names the checkpoints, knows what each goes on from, and holds the lock.
//!
//! Names are given in the order of the saves, and a save may come to nothing after its name was given. So a name
//! is given back when there is no such checkpoint, and what a checkpoint goes on from is known when it is
//! committed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{CommitOptions, Committed, Notice, Run, RunLock, SaveRequest, commit};
use crate::Error;
use crate::io::commit::Durability;
use crate::record::CheckpointId;
use crate::tensor::State;

/// The writing half of a manager. It may be shared with a thread that saves in the background.
#[derive(Debug)]
pub(super) struct Keeper {
    run: Run,
    options: CommitOptions,
    chain: Mutex<Chain>,
}

/// Where the history stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    /// The newest name.
    newest: Option<CheckpointId>,
    /// What the work goes on from: what was resumed from, or saved last.
    tip: Option<CheckpointId>,
}

#[derive(Debug, Default)]
struct Chain {
    /// Held from the first save on.
    lock: Option<RunLock>,
    /// Where the checkpoints stand that are there.
    there: Ends,
    /// The names that were given, in their order, to saves that aren't over.
    given: Vec<CheckpointId>,
}

impl Chain {
    /// Returns where the history stands if all saves come to a checkpoint.
    fn ends(&self) -> Ends {
        match self.given.last() {
            Some(last) => Ends { newest: self.there.newest.max(Some(*last)), tip: Some(*last) },
            None => self.there,
        }
    }

    /// Takes note that a checkpoint is there.
    fn add(&mut self, id: CheckpointId) {
        self.given.retain(|given| *given != id);
        self.there = Ends { newest: self.there.newest.max(Some(id)), tip: Some(id) };
    }
}

/// The name of a checkpoint that is about to be saved.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The name.
    pub(super) id: CheckpointId,
    /// What is odd about it.
    notice: Option<Notice>,
}

impl Keeper {
    /// Makes a writer that hasn't begun.
    pub(super) fn new(run: Run, options: CommitOptions) -> Self {
        Self { run, options, chain: Mutex::default() }
    }

    /// Returns the run.
    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    /// Takes note of what the work goes on from.
    pub(super) fn resumed(&self, from: CheckpointId) {
        self.chain().there.tip = Some(from);
    }

    /// Gives the next checkpoint its name. The first time, this takes the run's lock.
    ///
    /// # Errors
    ///
    /// Another writer has the run, or its directory can't be made or read.
    pub(super) fn name(&self, step: u64) -> Result<Named, Error> {
        let mut chain = self.chain();
        self.begin(&mut chain)?;
        let (id, notice) = next(chain.ends(), step)?;
        chain.given.push(id);
        Ok(Named { id, notice })
    }

    /// Saves the checkpoint of a name. Where that fails for good, the name is to be given back.
    ///
    /// # Errors
    ///
    /// As [`commit()`].
    pub(super) fn commit(
        &self,
        named: &Named,
        request: &SaveRequest,
        state: &State<'_>,
    ) -> Result<Committed, Error> {
        let parent = self.chain().there.tip;
        let mut committed = commit(&self.run, named.id, parent, request, state, &self.options)?;
        self.chain().add(named.id);
        committed.notices.extend(named.notice.clone());
        Ok(committed)
    }

    /// Takes the run's lock, for who removes something.
    ///
    /// # Errors
    ///
    /// As [`Keeper::name`].
    pub(super) fn lock(&self) -> Result<(), Error> {
        self.begin(&mut self.chain())
    }

    /// Takes back a name that no checkpoint has, so that the next one may have it.
    pub(super) fn give_back(&self, named: &Named) {
        // A checkpoint of an error in its last step is there.
        let is_there = !matches!(self.run.disk().stat(&self.run.path(named.id)), Ok(None));
        let mut chain = self.chain();
        if is_there {
            chain.add(named.id);
        }
        chain.given.retain(|given| *given != named.id);
    }

    /// Returns whether what was saved would survive a loss of power.
    pub(super) fn is_durable(&self) -> bool {
        self.options.save.durability == Durability::Full
    }

    /// Takes the lock, and looks at what is there.
    fn begin(&self, chain: &mut Chain) -> Result<(), Error> {
        if chain.lock.is_none() {
            let lock = self.run.lock()?;
            chain.there.newest = self.run.ids()?.last().copied();
            chain.lock = Some(lock);
        }
        Ok(())
    }

    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the name of the checkpoint at a step, and what is odd about it.
fn next(ends: Ends, step: u64) -> Result<(CheckpointId, Option<Notice>), Error> {
    let id = next_id(ends.newest, ends.tip, step)?;
    let began = ends.newest.filter(|newest| newest.generation != id.generation);
    Ok((id, began.map(Notice::NewGeneration)))
}

/// Returns the name of the checkpoint at a step that goes on from `parent`. It stays in the newest one's generation
/// where it goes on from there, or nobody said from where, and its step is a later one; otherwise a new generation
/// begins.
///
/// # Errors
///
/// There is no further generation.
pub(crate) fn next_id(
    newest: Option<CheckpointId>,
    parent: Option<CheckpointId>,
    step: u64,
) -> Result<CheckpointId, Error> {
    let Some(newest) = newest else { return Ok(CheckpointId { generation: 0, step }) };
    if step > newest.step && parent.is_none_or(|parent| parent == newest) {
        return Ok(CheckpointId { step, ..newest });
    }
    let generation = newest.generation.checked_add(1);
    let generation = generation.ok_or_else(|| Error::usage("the run has no further generations"))?;
    Ok(CheckpointId { generation, step })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> CheckpointId {
        name.parse().unwrap()
    }

    #[test]
    fn a_name_goes_on_from_the_newest_or_begins_a_generation() {
        for (newest, tip, step, expected) in [
            (None, None, 0, "step-0000000000"),
            (None, None, 100, "step-0000000100"),
            (Some("step-0000000100"), None, 101, "step-0000000101"),
            (Some("step-0000000100"), Some("step-0000000100"), 101, "step-0000000101"),
            (Some("step-0000000100"), None, 100, "step-0000000100-g1"),
            (Some("step-0000000100"), Some("step-0000000100"), 7, "step-0000000007-g1"),
            (Some("step-0000000100"), Some("step-0000000090"), 110, "step-0000000110-g1"),
            (Some("step-0000000100-g3"), Some("step-0000000100"), 101, "step-0000000101-g4"),
            (Some("step-0000000100-g3"), Some("step-0000000100-g3"), 101, "step-0000000101-g3"),
        ] {
            let ends = Ends { newest: newest.map(id), tip: tip.map(id) };
            let (next, notice) = next(ends, step).unwrap();
            assert_eq!(next, id(expected));
            let began = ends.newest.filter(|newest| newest.generation != next.generation);
            assert_eq!(notice, began.map(Notice::NewGeneration));
        }
        let last = CheckpointId { generation: u32::MAX, step: 5 };
        assert!(next(Ends { newest: Some(last), tip: None }, 5).is_err());
    }

    #[test]
    fn a_name_without_a_checkpoint_is_given_again() {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(Run::open(directory.path()).unwrap(), CommitOptions::default());
        let refused = SaveRequest::at(5).with_artifact("manifest.json", "mine");
        let named = keeper.name(5).unwrap();
        keeper.commit(&named, &refused, &State::new()).unwrap_err();
        keeper.give_back(&named);
        let again = keeper.name(5).unwrap();
        assert_eq!((again.id, again.notice.clone()), (named.id, None));
        keeper.commit(&again, &SaveRequest::at(5), &State::new()).unwrap();
        assert_eq!(keeper.name(5).unwrap().id, id("step-0000000005-g1"));
        // Whichever of several comes to nothing, the others stay where they are.
        let lost = [keeper.name(6).unwrap(), keeper.name(7).unwrap()];
        for named in &lost {
            keeper.give_back(named);
        }
        let (first, second) = (keeper.name(6).unwrap(), keeper.name(7).unwrap());
        assert_eq!(first.id, lost[0].id);
        keeper.give_back(&first);
        let third = keeper.name(8).unwrap();
        assert_eq!([second.id, third.id], [id("step-0000000007-g1"), id("step-0000000008-g1")]);
        let done = keeper.commit(&third, &SaveRequest::at(8), &State::new()).unwrap();
        assert_eq!(keeper.run().manifest(done.id).unwrap().parent, Some(again.id));
    }
}
