use std::collections::BTreeMap;

use super::candidate::Candidate;
use super::policy::{Policy, Rule};
use super::rules::{measured, picks};
use crate::Error;
use crate::record::{CheckpointId, CheckpointStanding, Decision, PruneAction, Reason};

/// What becomes of each checkpoint, and why.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Of each checkpoint, oldest first.
    pub decisions: Vec<Decision>,
    /// The metrics that a rule names and that no good checkpoint has: a typing error, perhaps.
    pub unmeasured: Vec<String>,
}

impl Plan {
    /// Returns what goes, oldest first.
    pub fn removals(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| decision.action == PruneAction::Remove)
    }

    /// Returns how many bytes the removals free.
    pub fn freed_bytes(&self) -> u64 {
        self.removals().fold(0, |sum, decision| sum.saturating_add(decision.bytes))
    }
}

/// Decides what becomes of each checkpoint. Nothing is touched.
///
/// # Errors
///
/// [`Usage`](crate::ErrorKind::Usage): the policy keeps nothing ([`Policy::check`]); all its rules go by what no good
/// checkpoint has, a metric say, and some would be removed; or two checkpoints have one name.
pub fn plan(candidates: &[Candidate], policy: &Policy) -> Result<Plan, Error> {
    policy.check()?;
    let sorted = sorted(candidates)?;
    let good: Vec<&Candidate> = sorted.iter().copied().filter(|candidate| candidate.is_good()).collect();
    let mut kept: BTreeMap<CheckpointId, Vec<Reason>> = BTreeMap::new();
    for (id, reason) in policy.rules().iter().flat_map(|rule| picks(rule, &good)) {
        kept.entry(id).or_default().push(reason);
    }
    let judge = Judge {
        is_kept_by_none: kept.is_empty(),
        kept,
        newest_good: good.last().map(|newest| newest.id),
        remove_damaged: policy.removes_damaged(),
    };
    let plan = Plan {
        decisions: sorted.iter().map(|candidate| judge.decide(candidate)).collect(),
        unmeasured: unmeasured(policy, &good),
    };
    judge.refuse_unmeasured(&plan)?;
    Ok(plan)
}

/// Returns the candidates in the order of the history.
fn sorted(candidates: &[Candidate]) -> Result<Vec<&Candidate>, Error> {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by_key(|candidate| candidate.id);
    let same = sorted.iter().zip(sorted.iter().skip(1)).find(|(left, right)| left.id == right.id);
    match same {
        Some((twice, _)) => Err(Error::usage(format!("{} is there twice", twice.id))),
        None => Ok(sorted),
    }
}

/// Returns the metrics that are named, and that nobody measured.
fn unmeasured(policy: &Policy, good: &[&Candidate]) -> Vec<String> {
    let metric = |rule: &Rule| match rule {
        Rule::Best(best) if measured(best, good).is_empty() => Some(best.metric.clone()),
        _ => None,
    };
    policy.rules().iter().filter_map(metric).collect()
}

/// What a decision is made by.
struct Judge {
    kept: BTreeMap<CheckpointId, Vec<Reason>>,
    is_kept_by_none: bool,
    newest_good: Option<CheckpointId>,
    remove_damaged: bool,
}

impl Judge {
    fn decide(&self, candidate: &Candidate) -> Decision {
        let mut reasons = match candidate.standing {
            CheckpointStanding::Good => self.kept.get(&candidate.id).cloned().unwrap_or_default(),
            CheckpointStanding::Unverified => vec![Reason::Unverified],
            CheckpointStanding::InFlight => vec![Reason::InFlight],
            CheckpointStanding::Bad => self.reason_for_damaged(candidate.id).into_iter().collect(),
        };
        if self.newest_good == Some(candidate.id) {
            reasons.push(Reason::NewestGood);
        }
        if candidate.pinned {
            reasons.push(Reason::Pinned);
        }
        let action = if reasons.is_empty() { PruneAction::Remove } else { PruneAction::Keep };
        if reasons.is_empty() {
            let is_good = candidate.is_good();
            reasons.push(if is_good { Reason::NoRule } else { Reason::Damaged });
        }
        let Candidate { id, standing, bytes, .. } = *candidate;
        Decision { id, standing, bytes, action, reasons }
    }

    /// Returns why a damaged one stays; none where it goes.
    fn reason_for_damaged(&self, id: CheckpointId) -> Option<Reason> {
        if !self.remove_damaged {
            Some(Reason::DamagedKept)
        } else if self.newest_good > Some(id) {
            None
        } else {
            Some(Reason::DamagedNewest)
        }
    }

    /// Refuses a plan by which good ones would go though no rule says which are wanted.
    fn refuse_unmeasured(&self, plan: &Plan) -> Result<(), Error> {
        let removes_good = plan.removals().any(|decision| decision.standing == CheckpointStanding::Good);
        if !(self.is_kept_by_none && removes_good) {
            return Ok(());
        }
        let message = match plan.unmeasured.as_slice() {
            [] => "no good checkpoint has what the rules go by: nothing is removed".to_owned(),
            metrics => {
                let metrics = metrics.join("', '");
                format!(
                    "no good checkpoint has a value of '{metrics}', and no other rule keeps any: nothing is removed"
                )
            }
        };
        Err(Error::usage(message))
    }
}
