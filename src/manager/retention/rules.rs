//! What each rule keeps. All that is handed in is good, and oldest first.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::candidate::Candidate;
use super::policy::{Best, Every, Rule};
use crate::record::{CheckpointId, Goal, Reason};

/// A checkpoint that is kept, and why.
pub(super) type Pick = (CheckpointId, Reason);

/// Returns what a rule keeps.
pub(super) fn picks(rule: &Rule, good: &[&Candidate]) -> Vec<Pick> {
    match rule {
        Rule::Last(count) => last(*count, good),
        Rule::Every(Every::Steps(steps)) => every_steps(*steps, good),
        Rule::Every(Every::Time(duration)) => every_time(*duration, good),
        Rule::Within(duration) => within(*duration, good),
        Rule::Best(rule) => best(rule, good),
    }
}

/// Returns what has a part in a rule of the best, as value and name: a number that is none or has no end is no
/// measure.
pub(super) fn measured(rule: &Best, good: &[&Candidate]) -> Vec<(f64, CheckpointId)> {
    let value = |candidate: &&Candidate| candidate.metrics.get(&rule.metric).copied();
    let measured = good.iter().filter_map(|candidate| Some((value(candidate)?, candidate.id)));
    measured.filter(|(value, _)| value.is_finite()).collect()
}

fn last(count: u64, good: &[&Candidate]) -> Vec<Pick> {
    let newest_first = (1..=count).zip(good.iter().rev());
    newest_first.map(|(place, candidate)| (candidate.id, Reason::Last { place, of: count })).collect()
}

fn every_steps(steps: u64, good: &[&Candidate]) -> Vec<Pick> {
    let window = |candidate: &Candidate| candidate.id.step.checked_div(steps);
    first_of_each(good, window, |window| Reason::EverySteps { steps, from: window.saturating_mul(steps) })
}

fn every_time(duration: Duration, good: &[&Candidate]) -> Vec<Pick> {
    let seconds = duration.as_secs();
    let Ok(length) = i64::try_from(seconds) else { return first_of_all(seconds, good) };
    let window = |candidate: &Candidate| candidate.created?.as_second().checked_div_euclid(length);
    first_of_each(good, window, |window| {
        let from = Timestamp::from_second(window.saturating_mul(length)).unwrap_or(Timestamp::MIN);
        Reason::EveryTime { seconds, from }
    })
}

/// The window is longer than time itself.
fn first_of_all(seconds: u64, good: &[&Candidate]) -> Vec<Pick> {
    let window = |candidate: &Candidate| candidate.created.map(|_| ());
    first_of_each(good, window, |()| Reason::EveryTime { seconds, from: Timestamp::MIN })
}

/// Picks the first of each window and generation. What has no window isn't picked.
fn first_of_each<W: Ord + Copy>(
    good: &[&Candidate],
    window: impl Fn(&Candidate) -> Option<W>,
    reason: impl Fn(W) -> Reason,
) -> Vec<Pick> {
    let mut seen = BTreeSet::new();
    let windows = good.iter().filter_map(|candidate| Some((candidate.id, window(candidate)?)));
    windows
        .filter(|(id, window)| seen.insert((id.generation, *window)))
        .map(|(id, window)| (id, reason(window)))
        .collect()
}

fn within(duration: Duration, good: &[&Candidate]) -> Vec<Pick> {
    let Some(newest) = good.last().and_then(|newest| newest.created) else { return Vec::new() };
    let is_near = |candidate: &&&Candidate| {
        // A negative age is that of one that was made later, by a clock that was set back since.
        candidate.created.is_some_and(|created| {
            Duration::try_from(newest.duration_since(created)).map_or(true, |age| age <= duration)
        })
    };
    let reason = Reason::Within { seconds: duration.as_secs() };
    good.iter().filter(is_near).map(|candidate| (candidate.id, reason.clone())).collect()
}

fn best(rule: &Best, good: &[&Candidate]) -> Vec<Pick> {
    let mut measured = measured(rule, good);
    measured.sort_by(|(left, left_id), (right, right_id)| {
        // Both are finite, so that they compare; and -0 equals 0.
        let by_value = left.partial_cmp(right).unwrap_or(std::cmp::Ordering::Equal);
        let by_value = if rule.goal == Goal::Min { by_value } else { by_value.reverse() };
        by_value.then(right_id.cmp(left_id))
    });
    let best = (1..=rule.count).zip(measured);
    let reason = |place, value| Reason::Best {
        metric: rule.metric.clone(),
        goal: rule.goal,
        value,
        place,
        of: rule.count,
    };
    best.map(|(place, (value, id))| (id, reason(place, value))).collect()
}
