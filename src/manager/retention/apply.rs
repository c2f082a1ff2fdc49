use super::plan::Plan;
use crate::Error;
use crate::record::CheckpointId;

/// What came of a plan.
#[derive(Debug, Default)]
#[must_use]
pub struct Pruned {
    /// What was removed, oldest first.
    pub removed: Vec<CheckpointId>,
    /// What could not be removed, and why. What is newer than it was left.
    pub failed: Option<(CheckpointId, Error)>,
}

impl Pruned {
    /// Returns the error, where there was one; what was removed before stays removed.
    pub fn into_result(self) -> Result<Vec<CheckpointId>, Error> {
        match self.failed {
            None => Ok(self.removed),
            Some((id, error)) => {
                let removed = self.removed.len();
                Err(error.with_note(&format!("{id} isn't removed, and {removed} before it were")))
            }
        }
    }
}

impl Plan {
    /// Removes what goes, oldest first, by calling `remove` on each. Stops at the first error.
    ///
    /// The plan must be of what is there now, and what it counts on as good must be durable. Whatever stops the
    /// removals, `remove` must never leave half a checkpoint under its name.
    pub fn apply(&self, mut remove: impl FnMut(CheckpointId) -> Result<(), Error>) -> Pruned {
        let mut pruned = Pruned::default();
        for id in self.removals().map(|decision| decision.id) {
            match remove(id) {
                Ok(()) => pruned.removed.push(id),
                Err(error) => {
                    pruned.failed = Some((id, error));
                    break;
                }
            }
        }
        pruned
    }
}
