//! How long saves and steps take, so that the last save is begun in time.

use std::collections::VecDeque;
use std::time::Duration;

/// How many saves are looked back at. Devices are shared: one alone says little.
const SAVES: usize = 8;

/// How many steps are looked back at: an evaluation every few hundred steps is one of them, at times.
const STEPS: usize = 256;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Pace {
    saves: Recent<SAVES>,
    steps: Recent<STEPS>,
    last_question: Option<Duration>,
}

/// The last few of many durations.
#[derive(Debug, Default)]
struct Recent<const N: usize>(VecDeque<Duration>);

impl<const N: usize> Recent<N> {
    fn push(&mut self, duration: Duration) {
        if self.0.len() >= N {
            self.0.pop_front();
        }
        self.0.push_back(duration);
    }

    fn longest(&self) -> Option<Duration> {
        self.0.iter().max().copied()
    }
}

impl Pace {
    /// Takes the moment of a question: from one to the next, a step was taken.
    pub(super) fn asked(&mut self, now: Duration) {
        if let Some(last) = self.last_question.replace(now) {
            self.steps.push(now.saturating_sub(last));
        }
    }

    /// Takes the moment of an answer: what went by since the question was the save's, and isn't the step's.
    pub(super) fn answered(&mut self, now: Duration) {
        self.last_question = Some(now);
    }

    /// Takes how long a save took.
    pub(super) fn saved(&mut self, took: Duration) {
        self.saves.push(took);
    }

    /// Returns how long a save may take; none where none was measured.
    pub(super) fn save(&self) -> Option<Duration> {
        self.saves.longest()
    }

    /// Returns how long a step may take.
    pub(super) fn step(&self) -> Duration {
        self.steps.longest().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_longest_of_the_last_few_counts() {
        let mut pace = Pace::default();
        assert_eq!((pace.save(), pace.step()), (None, Duration::ZERO));
        pace.saved(9 * SECOND);
        for _ in 0..SAVES - 1 {
            pace.saved(SECOND);
        }
        assert_eq!(pace.save(), Some(9 * SECOND));
        pace.saved(2 * SECOND);
        assert_eq!(pace.save(), Some(2 * SECOND));
    }

    #[test]
    fn a_save_is_no_part_of_a_step() {
        let mut pace = Pace::default();
        pace.asked(SECOND);
        pace.asked(4 * SECOND);
        pace.answered(60 * SECOND);
        pace.asked(62 * SECOND);
        assert_eq!(pace.step(), 3 * SECOND);
    }
}
