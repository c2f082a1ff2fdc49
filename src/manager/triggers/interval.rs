//! Every so many steps, every so long a time.

use std::time::Duration;

use super::due::Why;

/// The intervals, and since when they run.
#[derive(Debug)]
pub(super) struct Interval {
    steps: Option<u64>,
    time: Option<Duration>,
    /// The step from which on multiples are passed; none before the first question.
    since_step: Option<u64>,
    /// The time since when.
    since_time: Duration,
}

impl Interval {
    pub(super) fn new(steps: Option<u64>, time: Option<Duration>, now: Duration) -> Self {
        Self { steps, time, since_step: None, since_time: now }
    }

    /// Begins anew at a step, with which the work goes on.
    pub(super) fn restart(&mut self, step: u64, now: Duration) {
        self.since_step = Some(step);
        self.since_time = now;
    }

    /// Returns why a save is due, if one is.
    pub(super) fn due(&mut self, step: u64, now: Duration) -> Option<Why> {
        let since = *self.since_step.get_or_insert(step.saturating_sub(1));
        if step < since {
            // The history was walked back, and nobody told.
            self.since_step = Some(step.saturating_sub(1));
        }
        let passes = |steps: &u64| {
            step.checked_div(*steps) > self.since_step.and_then(|since| since.checked_div(*steps))
        };
        let is_over = |time: &Duration| now.saturating_sub(self.since_time) >= *time;
        let by_steps = self.steps.filter(passes).map(Why::Steps);
        by_steps.or_else(|| self.time.filter(is_over).map(Why::Time))
    }
}
