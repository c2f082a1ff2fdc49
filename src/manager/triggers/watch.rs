use std::sync::Arc;
use std::time::Duration;

use super::due::{Due, Why};
use super::interval::Interval;
use super::options::{Deadline, TriggerOptions};
use super::pace::Pace;
use super::signals::Listener;
use crate::Error;
use crate::save::scrub::{Clock, SystemClock};

/// Says when a save is due. See the [module](super).
#[derive(Debug)]
pub struct Triggers {
    clock: Arc<dyn Clock>,
    listener: Listener,
    interval: Interval,
    pace: Pace,
    deadline: Option<Deadline>,
    /// When the deadline was told, which one after a while is counted from.
    told: Duration,
    margin: Duration,
    first_save: Duration,
    /// What asked for the end. It isn't taken back.
    ending: Option<Why>,
    /// What was due, and isn't answered for.
    open: Option<Open>,
    /// Whether the last save was made.
    is_over: bool,
}

/// A save that fell due.
#[derive(Clone, Copy, Debug)]
struct Open {
    step: u64,
    since: Duration,
    is_final: bool,
}

impl Triggers {
    /// Begins to listen and to count.
    ///
    /// # Errors
    ///
    /// [`Usage`](crate::ErrorKind::Usage): an interval of nothing. [`Io`](crate::ErrorKind::Io): a signal that can't be
    /// listened to.
    pub fn new(options: &TriggerOptions) -> Result<Self, Error> {
        Self::with_clock(options, Arc::new(SystemClock::default()))
    }

    /// As [`Triggers::new`], by another clock.
    ///
    /// # Errors
    ///
    /// See [`Triggers::new`].
    pub fn with_clock(options: &TriggerOptions, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        options.check()?;
        let now = clock.elapsed();
        Ok(Self {
            listener: Listener::open(&options.signals)?,
            interval: Interval::new(options.steps, options.time, now),
            pace: Pace::default(),
            deadline: options.deadline,
            told: now,
            margin: options.margin,
            first_save: options.first_save,
            ending: None,
            open: None,
            is_over: false,
            clock,
        })
    }

    /// Says with which step the work goes on: the one that was resumed. Intervals begin there.
    pub fn resumed(&mut self, step: u64) {
        let now = self.clock.elapsed();
        // What was due belongs to a history that was left.
        self.open = None;
        self.interval.restart(step, now);
        self.pace.answered(now);
    }

    /// Says when the job ends, in place of what was known before.
    pub fn end_by(&mut self, deadline: Deadline) {
        self.deadline = Some(deadline);
        self.told = self.clock.elapsed();
    }

    /// Returns whether a save is due after this step. To be asked once per step.
    ///
    /// What is due is to be answered for, by [`Triggers::saved`] or [`Triggers::skipped`]; until then, nothing but the
    /// last save falls due.
    pub fn should_save(&mut self, step: u64) -> Option<Due> {
        let now = self.clock.elapsed();
        self.pace.asked(now);
        if self.is_over || self.open.is_some_and(|open| open.is_final) {
            return None;
        }
        let due = match self.ending() {
            Some(why) => Due::Final { why, left: self.time_left() },
            None if self.open.is_some() || !self.has_time_for_two() => return None,
            None => Due::Save(self.why(step, now)?),
        };
        self.interval.restart(step, now);
        self.open = Some(Open { step, since: now, is_final: due.is_final() });
        Some(due)
    }

    /// Returns why a save is due that isn't the last one, if one is.
    fn why(&mut self, step: u64, now: Duration) -> Option<Why> {
        let by_signal = self.listener.take_save().map(Why::Signal);
        by_signal.or_else(|| self.interval.due(step, now))
    }

    /// Returns whether a save now would leave enough time for the last one. Where it wouldn't, the last one is near
    /// enough to wait for.
    fn has_time_for_two(&self) -> bool {
        let two = self.time_needed().saturating_add(self.expected_save());
        self.time_left().is_none_or(|left| left > two)
    }

    /// Returns how long a save is expected to take.
    fn expected_save(&self) -> Duration {
        self.pace.save().unwrap_or(self.first_save)
    }

    /// Says that a checkpoint of this step is durable, and how long that took from the call on.
    pub fn saved(&mut self, step: u64, took: Duration) {
        self.pace.saved(took);
        match self.open {
            None => self.interval.restart(step, self.clock.elapsed()),
            Some(open) if open.is_final && open.step <= step => self.is_over = true,
            Some(_) => {}
        }
        self.skipped(step);
    }

    /// Says that what was due at this step isn't saved: it was left out, gave way to another, or failed. An interval
    /// comes round again in its time; a last save is due again at the next step.
    pub fn skipped(&mut self, step: u64) {
        self.pace.answered(self.clock.elapsed());
        self.open = self.open.filter(|open| open.step > step);
    }

    /// Returns what has asked for the end, if anything has: a signal, or the deadline. A loop that looks at it before
    /// its first step needn't take that.
    pub fn ending(&mut self) -> Option<Why> {
        if self.ending.is_none() {
            let is_near = self.time_left().is_some_and(|left| left <= self.time_needed());
            let by_signal = self.listener.stop().map(Why::Signal);
            self.ending = by_signal.or(is_near.then_some(Why::Deadline));
        }
        self.ending
    }

    /// Returns whether the last save is due, and not answered for.
    pub fn is_last_due(&self) -> bool {
        self.open.is_some_and(|open| open.is_final)
    }

    /// Returns whether the last save was made: the loop should have stopped.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns how long there is until the deadline: zero where it has passed, none where there is none.
    pub fn time_left(&self) -> Option<Duration> {
        Some(match self.deadline? {
            // A negative duration is no `Duration`.
            Deadline::At(end) => Duration::try_from(end.duration_since(self.clock.now())).unwrap_or_default(),
            Deadline::After(duration) => {
                duration.saturating_sub(self.clock.elapsed().saturating_sub(self.told))
            }
        })
    }

    /// Returns how long before the deadline the last save is due: the time that it takes, and that of one more step;
    /// what is left of a save that is in flight, which it has to wait for; and the margin.
    pub fn time_needed(&self) -> Duration {
        let save = self.expected_save();
        let in_flight = self.open.map_or(Duration::ZERO, |open| {
            save.saturating_sub(self.clock.elapsed().saturating_sub(open.since))
        });
        [save, in_flight, self.pace.step(), self.margin]
            .into_iter()
            .fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Acts as though the signal had come.
    #[cfg(test)]
    pub(super) fn hear(&self, signal: super::signals::Signal) {
        self.listener.hear(signal);
    }
}
