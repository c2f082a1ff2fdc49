//! What holds for every policy and every history, and what each rule keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::record::{CheckpointId, CheckpointStanding, Decision, Goal, PruneAction, Reason};

fn id(text: &str) -> CheckpointId {
    let (step, generation) = text.split_once('g').unwrap_or((text, "0"));
    CheckpointId { generation: generation.parse().unwrap(), step: step.parse().unwrap() }
}

fn good(text: &str) -> Candidate {
    Candidate { bytes: 10, ..Candidate::new(id(text), CheckpointStanding::Good) }
}

fn with(standing: CheckpointStanding, text: &str) -> Candidate {
    Candidate { standing, ..good(text) }
}

fn measured(text: &str, value: f64) -> Candidate {
    Candidate { metrics: [("loss".to_owned(), value)].into(), ..good(text) }
}

fn at(text: &str, second: i64) -> Candidate {
    Candidate { created: Some(Timestamp::from_second(second).unwrap()), ..good(text) }
}

fn history(names: &str) -> Vec<Candidate> {
    names.split(' ').map(good).collect()
}

/// Returns what stays, as the names are given.
fn kept(candidates: &[Candidate], policy: &Policy) -> String {
    let plan = plan(candidates, policy).unwrap();
    let kept = plan.decisions.iter().filter(|decision| decision.action == PruneAction::Keep);
    let names = kept.map(|Decision { id, .. }| match id.generation {
        0 => id.step.to_string(),
        generation => format!("{}g{generation}", id.step),
    });
    names.collect::<Vec<_>>().join(" ")
}

fn best(text: &str) -> Policy {
    Policy::default().keep_best(text.parse().unwrap())
}

fn every(text: &str) -> Policy {
    Policy::default().keep_every(text.parse().unwrap())
}

#[test]
fn the_last_are_those_of_the_newest_generation() {
    let history = history("100 200 300 150g1 250g1");
    assert_eq!(kept(&history, &Policy::default().keep_last(2)), "150g1 250g1");
    assert_eq!(kept(&history, &Policy::default().keep_last(3)), "300 150g1 250g1");
    assert_eq!(kept(&history, &Policy::default().keep_last(u64::MAX)), "100 200 300 150g1 250g1");
}

#[test]
fn of_every_window_the_first_stays() {
    // 1000 and 2000 are at the multiples; of the third window, nothing is.
    let there = history("900 1000 1100 1990 2000 2010 3010 3020 4000");
    assert_eq!(kept(&there, &every("1000")), "900 1000 2000 3010 4000");
    // What was walked back from doesn't stand in the place of what the work goes on from.
    let there = history("1000 2000 2100 2050g1 2060g1 3100g1");
    assert_eq!(kept(&there, &every("1000")), "1000 2000 2050g1 3100g1");
}

#[test]
fn of_every_duration_the_first_stays() {
    let there = [at("1", 0), at("2", 30), at("3", 61), at("4", 119), at("5", 400), at("6", 410)];
    assert_eq!(kept(&there, &every("1m")), "1 3 5 6");
    // Longer than time itself: all is one window.
    let ages = Policy::default().keep_every(Every::Time(Duration::MAX));
    assert_eq!(kept(&there, &ages), "1 6", "{ages}");
}

#[test]
fn what_is_near_the_newest_good_one_stays() {
    let mut there = vec![at("1", 0), at("2", 99), at("3", 100), at("4", 500), at("5", 200)];
    let policy = Policy::default().keep_within(Duration::from_secs(100));
    assert_eq!(kept(&there, &policy), "3 4 5");
    // A newer one that isn't known to be good moves nothing.
    there.push(Candidate { standing: CheckpointStanding::Unverified, ..at("6", 9000) });
    assert_eq!(kept(&there, &policy), "3 4 5 6");
}

#[test]
fn the_best_are_finite_and_of_equal_ones_the_newer() {
    let there = [
        measured("1", 0.5),
        measured("2", 0.25),
        measured("3", f64::NAN),
        measured("4", f64::NEG_INFINITY),
        measured("5", 0.25),
        measured("6", -0.0),
        measured("7", 0.0),
        good("8"),
        measured("9", 0.9),
    ];
    assert_eq!(kept(&there, &best("loss:min:1")), "7 9");
    assert_eq!(kept(&there, &best("loss:min:3")), "5 6 7 9");
    assert_eq!(kept(&there, &best("loss:min:4")), "2 5 6 7 9");
    assert_eq!(kept(&there, &best("loss:max:2")), "1 9");
    assert_eq!(kept(&there, &best("loss:max:99")), "1 2 5 6 7 9");
}

#[test]
fn only_good_ones_count() {
    use CheckpointStanding::{Bad, InFlight, Unverified};
    let there = [
        good("1"),
        good("2"),
        with(Bad, "3"),
        good("4"),
        with(Unverified, "5"),
        with(Bad, "6"),
        with(InFlight, "7"),
    ];
    let policy = Policy::default().keep_last(2);
    assert_eq!(kept(&there, &policy), "2 3 4 5 6 7");
    assert_eq!(kept(&there, &policy.remove_damaged(true)), "2 4 5 6 7");
}

#[test]
fn every_decision_has_all_its_reasons() {
    let mut there = history("1000 1100 1200");
    there[1].pinned = true;
    there.push(Candidate { pinned: true, ..with(CheckpointStanding::Bad, "900") });
    let plan = plan(&there, &every("1000").keep_last(1).remove_damaged(true)).unwrap();
    let reasons: Vec<String> = plan
        .decisions
        .iter()
        .map(|decision| {
            let words: Vec<_> = decision.reasons.iter().map(Reason::as_str).collect();
            format!("{} {} {}", decision.id.step, decision.action, words.join("+"))
        })
        .collect();
    assert_eq!(
        reasons,
        ["900 keep pinned", "1000 keep every-steps", "1100 keep pinned", "1200 keep last+newest-good"]
    );
    assert_eq!((plan.removals().count(), plan.freed_bytes()), (0, 0));
    there[1].pinned = false;
    let plan = super::plan(&there, &every("1000")).unwrap();
    assert_eq!((plan.removals().count(), plan.freed_bytes()), (1, 10));
    assert_eq!(plan.removals().next().unwrap().reasons, [Reason::NoRule]);
}

#[test]
fn a_typing_error_removes_nothing() {
    let there = [measured("1", 0.5), measured("2", 0.25), measured("3", 0.75)];
    let error = plan(&there, &best("los:min:1")).unwrap_err();
    assert!(error.to_string().contains("'los'"), "{error}");
    assert!(plan(&there, &Policy::default()).is_err());
    assert!(plan(&history("1 2 3"), &every("1h")).is_err(), "none has a time");
    // With another rule it is said, and that rule holds.
    let plan = plan(&there, &best("los:min:1").keep_last(1)).unwrap();
    assert_eq!((plan.unmeasured.as_slice(), plan.removals().count()), (&["los".to_owned()][..], 2));
    assert!(super::plan(&there[..1], &best("los:min:1")).is_ok(), "the only one stays anyway");
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let there = [good("1"), with(CheckpointStanding::Bad, "1"), good("2")];
    let policy = Policy::default().keep_last(1).remove_damaged(true);
    assert!(plan(&there, &policy).unwrap_err().to_string().contains("step-0000000001 is there twice"));
}

#[test]
fn the_oldest_goes_first_and_the_first_error_ends_it() {
    let plan = plan(&history("4 2 1 3"), &Policy::default().keep_last(1)).unwrap();
    let pruned = plan.apply(|_| Ok(()));
    assert_eq!(pruned.removed, [id("1"), id("2"), id("3")]);
    assert_eq!(pruned.into_result().unwrap().len(), 3);
    let mut asked = Vec::new();
    let pruned = plan.apply(|id| {
        asked.push(id.step);
        if id.step == 2 { Err(Error::usage("it is busy")) } else { Ok(()) }
    });
    assert_eq!((asked, pruned.removed.as_slice()), (vec![1, 2], &[id("1")][..]));
    let error = pruned.into_result().unwrap_err().to_string();
    assert!(error.contains("it is busy") && error.contains("step-0000000002 isn't removed"), "{error}");
}

/// Any rule that makes sense, with numbers small enough to meet the histories.
fn rule() -> impl Strategy<Value = Rule> {
    let metric = prop_oneof![Just("loss"), Just("accuracy"), Just("nobody measured it")];
    prop_oneof![
        (1..6_u64).prop_map(Rule::Last),
        (1..40_u64).prop_map(|steps| Rule::Every(Every::Steps(steps))),
        (1..500_u64).prop_map(|seconds| Rule::Every(Every::Time(Duration::from_secs(seconds)))),
        (1..500_u64).prop_map(|seconds| Rule::Within(Duration::from_secs(seconds))),
        (metric, any::<bool>(), 1..4_u64).prop_map(|(metric, is_min, count)| {
            let goal = if is_min { Goal::Min } else { Goal::Max };
            Rule::Best(Best { metric: metric.to_owned(), goal, count })
        }),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (prop::collection::vec(rule(), 1..4), any::<bool>()).prop_map(|(rules, remove_damaged)| {
        rules.into_iter().fold(Policy::default(), Policy::with_rule).remove_damaged(remove_damaged)
    })
}

/// Any value that a metric may have; equal ones are frequent.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![8 => (-4..4_i8).prop_map(|half| f64::from(half) / 2.0), 1 => any::<f64>()]
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let standing = prop_oneof![
        4 => Just(CheckpointStanding::Good),
        1 => Just(CheckpointStanding::Unverified),
        1 => Just(CheckpointStanding::Bad),
        1 => Just(CheckpointStanding::InFlight),
    ];
    let metrics = prop::collection::btree_map("loss|accuracy", value(), 0..3);
    // The clock may have gone back: times don't follow the names.
    let created = prop::option::weighted(0.9, -500..2000_i64);
    let name = (0..3_u32, 0..200_u64);
    (name, standing, metrics, created, prop::bool::weighted(0.1)).prop_map(
        |((generation, step), standing, metrics, created, pinned)| Candidate {
            created: created.map(|second| Timestamp::from_second(second).unwrap()),
            metrics,
            pinned,
            bytes: step,
            ..Candidate::new(CheckpointId { generation, step }, standing)
        },
    )
}

/// Any history, in any order.
fn histories() -> impl Strategy<Value = Vec<Candidate>> {
    let distinct = |all: Vec<Candidate>| {
        all.into_iter().map(|candidate| (candidate.id, candidate)).collect::<BTreeMap<_, _>>()
    };
    prop::collection::vec(candidate(), 0..30)
        .prop_map(move |all| distinct(all).into_values().collect::<Vec<_>>())
        .prop_shuffle()
}

/// Returns what a plan removes; nothing where it is refused.
fn gone(candidates: &[Candidate], policy: &Policy) -> BTreeSet<CheckpointId> {
    let plan = plan(candidates, policy).unwrap_or_default();
    plan.removals().map(|decision| decision.id).collect()
}

fn after(candidates: &[Candidate], gone: &BTreeSet<CheckpointId>) -> Vec<Candidate> {
    candidates.iter().filter(|candidate| !gone.contains(&candidate.id)).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_must_stay_stays(there in histories(), policy in policy()) {
        let gone = gone(&there, &policy);
        let newest_good = there.iter().filter(|candidate| candidate.is_good()).map(|good| good.id).max();
        for candidate in &there {
            let is_protected = candidate.pinned
                || Some(candidate.id) == newest_good
                || matches!(candidate.standing, CheckpointStanding::Unverified | CheckpointStanding::InFlight)
                || (candidate.standing == CheckpointStanding::Bad
                    && !(policy.removes_damaged() && newest_good > Some(candidate.id)));
            prop_assert!(!(is_protected && gone.contains(&candidate.id)), "{candidate:?}");
        }
    }

    #[test]
    fn another_rule_never_removes_more(there in histories(), policy in policy(), rule in rule()) {
        prop_assume!(plan(&there, &policy).is_ok());
        let more = policy.clone().with_rule(rule);
        prop_assert!(plan(&there, &more).is_ok());
        prop_assert!(gone(&there, &more).is_subset(&gone(&there, &policy)));
    }

    #[test]
    fn planning_again_removes_nothing_more(there in histories(), policy in policy()) {
        let left = after(&there, &gone(&there, &policy));
        prop_assert_eq!(gone(&left, &policy), BTreeSet::new());
    }

    #[test]
    fn it_depends_on_no_order_and_each_has_a_reason(there in histories(), policy in policy()) {
        let mut turned = there.clone();
        turned.reverse();
        let same = plan(&turned, &policy).ok();
        prop_assert_eq!(plan(&there, &policy).ok(), same.clone());
        for decision in same.unwrap_or_default().decisions {
            prop_assert!(!decision.reasons.is_empty());
        }
    }
}
