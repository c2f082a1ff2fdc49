use std::time::Duration;

use jiff::Timestamp;

use super::signals::{Answer, Signal};
use crate::Error;

/// The exit code of a job that saved a last time and wants to be queued again: `EX_TEMPFAIL` of `sysexits.h`.
pub const EXIT_REQUEUE: u8 = 75;

/// What makes a save due. Default: nothing does.
///
/// ```
/// use std::time::Duration;
/// use ckpt::manager::triggers::{Answer, Deadline, Signal, TriggerOptions};
/// let options = TriggerOptions::default()
///     .every_steps(1000)
///     .every(Duration::from_mins(15))
///     .on(Signal::Terminate, Answer::SaveAndStop)
///     .before(Deadline::After(Duration::from_hours(24)));
/// assert_eq!(options.margin, Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TriggerOptions {
    /// Save where the step passes a multiple of this.
    pub steps: Option<u64>,
    /// Save where this much time went by since a save last fell due, or was made without being asked for.
    pub time: Option<Duration>,
    /// What each signal asks for. Only these are listened to.
    pub signals: Vec<(Signal, Answer)>,
    /// When the job ends.
    pub deadline: Option<Deadline>,
    /// The time that is kept in hand before the deadline, beyond what the last save and a step are expected to take.
    /// Default: 30 s.
    pub margin: Duration,
    /// How long a save is expected to take while none was measured. Default: 1 min.
    pub first_save: Duration,
}

/// When the job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// By the time of day. The computer's clock is looked at each time: it may be set.
    At(Timestamp),
    /// So long after the [`Triggers`](super::Triggers) were made, or told of it.
    After(Duration),
}

impl Deadline {
    /// Takes the seconds since 1970, as batch systems tell them.
    ///
    /// # Errors
    ///
    /// [`Usage`](crate::ErrorKind::Usage): there is no such time.
    pub fn at_second(second: i64) -> Result<Self, Error> {
        let at = Timestamp::from_second(second);
        at.map(Self::At).map_err(|_| Error::usage(format!("{second} is no time in seconds since 1970")))
    }
}

impl Default for TriggerOptions {
    fn default() -> Self {
        Self {
            steps: None,
            time: None,
            signals: Vec::new(),
            deadline: None,
            margin: Duration::from_secs(30),
            first_save: Duration::from_mins(1),
        }
    }
}

impl TriggerOptions {
    /// Saves every so many steps.
    #[must_use]
    pub fn every_steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Saves every so long a time.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Listens to a signal, in place of what was said of it before.
    #[must_use]
    pub fn on(mut self, signal: Signal, answer: Answer) -> Self {
        self.signals.retain(|(other, _)| *other != signal);
        self.signals.push((signal, answer));
        self
    }

    /// Listens to SIGTERM, which ends the job after a last save, and to SIGUSR2, which asks for a save. Not to SIGUSR1:
    /// NCCL has uses of its own for it.
    #[must_use]
    pub fn on_usual_signals(self) -> Self {
        self.on(Signal::Terminate, Answer::SaveAndStop).on(Signal::User2, Answer::Save)
    }

    /// Saves a last time in time before a deadline.
    #[must_use]
    pub fn before(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the time that is kept in hand.
    #[must_use]
    pub fn with_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Sets how long a save is expected to take while none was measured.
    #[must_use]
    pub fn with_first_save(mut self, first_save: Duration) -> Self {
        self.first_save = first_save;
        self
    }

    /// Says whether the numbers make sense.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.steps == Some(0) || self.time == Some(Duration::ZERO) {
            return Err(Error::usage(
                "a save can't be due every 0 steps, or every 0 s: leave the trigger out",
            ));
        }
        Ok(())
    }
}
