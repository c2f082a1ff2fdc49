//! Which checkpoints may go, by the crate's own rules.

use ckpt::manager::retention::{Candidate, Every, Policy, plan};
use ckpt::record::{CheckpointId, CheckpointStanding, PruneAction};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

/// What is known of one checkpoint: its step; whether it is `good`, `bad`, `unverified` or `in-flight`; and whether it is
/// to stay in any case.
type Known = (u64, String, bool);

/// Decides what becomes of each checkpoint of one history. Returns of each, oldest first, its step, whether it stays, and
/// why.
#[pyfunction]
pub(crate) fn plan_retention(
    py: Python<'_>,
    known: Vec<Known>,
    keep_last: Option<u64>,
    keep_every: Option<u64>,
    remove_damaged: bool,
) -> PyResult<Vec<(u64, bool, String)>> {
    let candidates = known.iter().map(candidate).collect::<PyResult<Vec<_>>>()?;
    let mut policy = Policy::default().remove_damaged(remove_damaged);
    if let Some(count) = keep_last {
        policy = policy.keep_last(count);
    }
    if let Some(steps) = keep_every {
        policy = policy.keep_every(Every::Steps(steps));
    }
    let plan = plan(&candidates, &policy).map_err(|error| errors::raise(py, &error))?;
    let said = plan.decisions.iter().map(|decision| {
        let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        (decision.id.step, decision.action == PruneAction::Keep, reasons.join("; "))
    });
    Ok(said.collect())
}

fn candidate((step, word, pinned): &Known) -> PyResult<Candidate> {
    let standing = CheckpointStanding::ALL.into_iter().find(|standing| standing.as_str() == word);
    let standing = standing
        .ok_or_else(|| PyValueError::new_err(format!("'{word}' says of no checkpoint how it stands")))?;
    Ok(Candidate::new(CheckpointId { generation: 0, step: *step }, standing).with_pin(*pinned))
}
