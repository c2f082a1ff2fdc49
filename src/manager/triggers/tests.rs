//! Intervals, signals and deadlines, by a clock that goes when it is told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::save::scrub::Clock;

/// A clock that stands still; the time of day can be set apart from it.
#[derive(Debug, Default)]
struct Hands(Mutex<(Duration, i64)>);

impl Hands {
    fn pass(&self, seconds: u64) {
        self.0.lock().unwrap().0 += Duration::from_secs(seconds);
    }

    /// Sets the time of day forward or back.
    fn set(&self, by_seconds: i64) {
        self.0.lock().unwrap().1 += by_seconds;
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        let (elapsed, set) = *self.0.lock().unwrap();
        Timestamp::from_second(1_000_000 + set).unwrap() + elapsed
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().0
    }

    fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().0 += duration;
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn open(options: &TriggerOptions) -> (Triggers, Arc<Hands>) {
    let hands = Arc::new(Hands::default());
    (Triggers::with_clock(options, Arc::clone(&hands) as Arc<dyn Clock>).unwrap(), hands)
}

fn options() -> TriggerOptions {
    TriggerOptions::default().with_margin(Duration::ZERO).with_first_save(Duration::ZERO)
}

/// Takes these steps, a second each, with saves that take no time; returns those that a save was due after.
fn due_steps(triggers: &mut Triggers, hands: &Hands, steps: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut due = Vec::new();
    for step in steps {
        hands.pass(1);
        if triggers.should_save(step).is_some() {
            triggers.saved(step, Duration::ZERO);
            due.push(step);
        }
    }
    due
}

#[test]
fn steps_are_counted_by_multiples() {
    let (mut triggers, hands) = open(&options().every_steps(10));
    assert_eq!(due_steps(&mut triggers, &hands, 1..=35), [10, 20, 30]);
    // A loop that takes several at once still passes them.
    assert_eq!(due_steps(&mut triggers, &hands, (38..=66).step_by(7)), [45, 52, 66]);
    // Walked back, and said so.
    triggers.resumed(30);
    assert_eq!(due_steps(&mut triggers, &hands, 30..=50), [40, 50]);
    // Walked back, and nobody said so.
    assert_eq!(due_steps(&mut triggers, &hands, 20..=31), [20, 30]);
    let (mut fresh, hands) = open(&options().every_steps(10));
    assert_eq!(due_steps(&mut fresh, &hands, 1001..=1010), [1010]);
}

#[test]
fn time_is_counted_from_the_last_save() {
    let (mut triggers, hands) = open(&options().every(seconds(5)));
    assert_eq!(due_steps(&mut triggers, &hands, 1..=12), [5, 10]);
    triggers.saved(12, Duration::ZERO);
    assert_eq!(due_steps(&mut triggers, &hands, 13..=18), [17]);
}

#[test]
fn of_both_whichever_comes_first() {
    let (mut triggers, hands) = open(&options().every_steps(10).every(seconds(6)));
    assert_eq!(triggers.should_save(1), None);
    assert_eq!(due_steps(&mut triggers, &hands, 2..=21), [7, 10, 16, 20]);
    hands.pass(60);
    assert_eq!(triggers.should_save(30), Some(Due::Save(Why::Steps(10))));
    triggers.saved(30, Duration::ZERO);
    hands.pass(60);
    assert_eq!(triggers.should_save(31), Some(Due::Save(Why::Time(seconds(6)))));
}

#[test]
fn after_a_long_pause_it_fires_once() {
    let (mut triggers, hands) = open(&options().every_steps(10).every(seconds(6)));
    hands.pass(100_000);
    assert_eq!(due_steps(&mut triggers, &hands, 987..=997), [987, 990, 996]);
}

#[test]
fn what_fired_waits_for_its_answer() {
    let (mut triggers, hands) = open(&options().every_steps(10).every(seconds(3)));
    hands.pass(2);
    assert!(triggers.should_save(10).is_some());
    for step in 11..100 {
        hands.pass(1);
        assert_eq!(triggers.should_save(step), None, "{step}");
    }
    triggers.skipped(9);
    assert_eq!(triggers.should_save(100), None, "an older answer is no answer");
    triggers.skipped(10);
    assert!(triggers.should_save(101).is_some(), "once, for all that went by");
    triggers.saved(101, seconds(1));
    assert_eq!(triggers.should_save(102), None);
}

#[test]
fn a_signal_ends_it_after_one_last_save() {
    let (mut triggers, hands) = open(&options().every_steps(10).on_usual_signals());
    assert!(triggers.should_save(10).is_some());
    // In the midst of that save.
    triggers.hear(Signal::Terminate);
    let last = Due::Final { why: Why::Signal(Signal::Terminate), left: None };
    assert_eq!(triggers.should_save(11), Some(last));
    triggers.saved(10, seconds(1));
    triggers.hear(Signal::Terminate);
    assert_eq!(triggers.should_save(12), None, "it isn't answered for");
    assert!(!triggers.is_over());
    triggers.saved(11, seconds(1));
    assert!(triggers.is_over());
    triggers.hear(Signal::Terminate);
    assert_eq!(due_steps(&mut triggers, &hands, 12..40), [0_u64; 0]);
}

#[test]
fn a_last_save_that_failed_is_due_again() {
    let (mut triggers, _) = open(&options().on_usual_signals());
    triggers.hear(Signal::Terminate);
    for step in 1..5 {
        assert!(triggers.should_save(step).is_some_and(Due::is_final));
        triggers.skipped(step);
    }
    assert!(triggers.should_save(5).is_some_and(Due::is_final));
    triggers.saved(5, seconds(1));
    assert_eq!((triggers.should_save(6), triggers.is_over()), (None, true));
}

#[test]
fn a_signal_before_the_first_step_is_seen_before_it() {
    let (mut triggers, _) = open(&options().on(Signal::User1, Answer::SaveAndStop));
    assert_eq!(triggers.ending(), None);
    triggers.hear(Signal::User1);
    assert_eq!(triggers.ending(), Some(Why::Signal(Signal::User1)));
    assert!(triggers.should_save(0).is_some_and(Due::is_final));
}

#[test]
fn a_signal_may_ask_for_a_save_alone() {
    let (mut triggers, hands) = open(&options().on_usual_signals());
    triggers.hear(Signal::User2);
    triggers.hear(Signal::User2);
    assert_eq!(triggers.should_save(1), Some(Due::Save(Why::Signal(Signal::User2))));
    // In the midst of that save: another one follows.
    triggers.hear(Signal::User2);
    assert_eq!(triggers.should_save(2), None);
    triggers.saved(1, seconds(1));
    assert_eq!(due_steps(&mut triggers, &hands, 3..10), [3]);
    assert_eq!(triggers.ending(), None);
}

#[test]
fn the_last_save_is_begun_in_time() {
    let deadline = Deadline::After(seconds(100));
    let (mut triggers, hands) = open(&options().with_margin(seconds(7)).before(deadline).every_steps(2));
    // Steps of three seconds, saves of five.
    let mut step = 0;
    let due = loop {
        step += 1;
        hands.pass(3);
        let due = triggers.should_save(step);
        if due.is_some_and(Due::is_final) {
            break due.unwrap();
        }
        if due.is_some() {
            hands.pass(5);
            triggers.saved(step, seconds(5));
        }
    };
    let Due::Final { why: Why::Deadline, left: Some(left) } = due else { panic!("{due}") };
    // One step more, and a save: then the margin would have been touched.
    assert!((seconds(12)..=seconds(12 + 3 + 5)).contains(&left), "{left:?}");
    assert!(due.to_string().starts_with("the last save is due: the deadline is near, "), "{due}");
    hands.pass(5);
    triggers.saved(step, seconds(5));
    assert!(triggers.time_left().unwrap() >= seconds(7) && triggers.is_over());
}

#[test]
fn what_is_in_flight_is_waited_for() {
    let (mut triggers, hands) = open(&options().every_steps(10).before(Deadline::After(seconds(1000))));
    triggers.saved(1, seconds(60));
    assert!(triggers.should_save(10).is_some());
    assert_eq!(triggers.time_needed(), seconds(120));
    hands.pass(20);
    assert_eq!(triggers.time_needed(), seconds(100));
    triggers.saved(10, seconds(90));
    assert_eq!(triggers.time_needed(), seconds(90));
}

#[test]
fn a_deadline_by_the_clock_follows_the_clock() {
    let (mut triggers, hands) = open(&options().before(Deadline::at_second(1_000_500).unwrap()));
    assert_eq!(triggers.time_left(), Some(seconds(500)));
    hands.pass(100);
    hands.set(-50);
    assert_eq!((triggers.time_left(), triggers.should_save(1)), (Some(seconds(450)), None));
    hands.set(460);
    assert_eq!(triggers.time_left(), Some(Duration::ZERO));
    assert!(triggers.should_save(2).is_some_and(Due::is_final));
    // That it was near isn't taken back.
    triggers.skipped(2);
    triggers.end_by(Deadline::After(seconds(1000)));
    assert_eq!((triggers.time_left(), triggers.ending()), (Some(seconds(1000)), Some(Why::Deadline)));
}

#[test]
fn before_anything_is_measured_a_guess_is_kept_in_hand() {
    let wanted = TriggerOptions::default().before(Deadline::After(seconds(91)));
    let (mut triggers, hands) = open(&wanted);
    assert_eq!((triggers.ending(), triggers.time_needed()), (None, seconds(90)));
    hands.pass(1);
    assert_eq!(triggers.ending(), Some(Why::Deadline));
}

#[test]
fn an_interval_of_nothing_is_refused() {
    for wrong in [options().every_steps(0), options().every(Duration::ZERO)] {
        assert!(Triggers::new(&wrong).is_err());
    }
    assert!(Deadline::at_second(i64::MAX).is_err());
}

proptest! {
    /// Whatever comes, a save isn't due while another one is, and at most one last save is made.
    #[test]
    fn nothing_is_due_twice(events in prop::collection::vec((0..6_u8, 0..40_u64), 0..200)) {
        let wanted = options().every_steps(3).every(seconds(10)).on_usual_signals();
        let (mut triggers, hands) = open(&wanted.before(Deadline::After(seconds(3000))));
        let (mut step, mut open, mut last) = (0, None, 0);
        for (event, number) in events {
            match event {
                0 => hands.pass(number),
                1 if number < 3 => triggers.hear(Signal::Terminate),
                2 if number < 9 => triggers.hear(Signal::User2),
                3 => {
                    if let Some(due) = open.take() {
                        triggers.saved(step, seconds(number));
                        last += u32::from(Due::is_final(due));
                    }
                }
                4 => {
                    triggers.skipped(step);
                    open = None;
                }
                _ => {
                    step += 1;
                    if let Some(due) = triggers.should_save(step) {
                        prop_assert!(open.is_none_or(|open| due.is_final() && !Due::is_final(open)));
                        prop_assert_eq!(last, 0);
                        open = Some(due);
                    }
                }
            }
        }
        prop_assert_eq!(triggers.is_over(), last == 1);
    }
}
