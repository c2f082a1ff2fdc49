use std::fmt;
use std::time::Duration;

use jiff::fmt::friendly::SpanPrinter;

use super::signals::Signal;

/// A save is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Save, and go on; in the background, if that is how it is done.
    Save(Why),
    /// Save a last time, wait until it is durable, and stop.
    Final {
        /// What asked for the end.
        why: Why,
        /// How long there is until the deadline, where there is one.
        left: Option<Duration>,
    },
}

/// Why a save is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// So many steps were taken.
    Steps(u64),
    /// So long a time went by.
    Time(Duration),
    /// A signal came.
    Signal(Signal),
    /// There is just time for one more.
    Deadline,
}

impl Due {
    /// Returns whether it is the last one, after which the loop should stop.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Final { .. })
    }

    /// Returns why it is due.
    pub fn why(self) -> Why {
        match self {
            Self::Save(why) | Self::Final { why, .. } => why,
        }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Save(why) => write!(f, "a save is due: {why}"),
            Self::Final { why, left } => {
                write!(f, "the last save is due: {why}")?;
                left.map_or(Ok(()), |left| write!(f, ", {} left", friendly(left)))
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "every {steps} steps"),
            Self::Time(time) => write!(f, "every {}", friendly(*time)),
            Self::Signal(signal) => write!(f, "{signal} came"),
            Self::Deadline => f.write_str("the deadline is near"),
        }
    }
}

/// Returns a duration of whole seconds as people read it.
fn friendly(duration: Duration) -> String {
    let whole = Duration::from_secs(duration.as_secs());
    SpanPrinter::new().unsigned_duration_to_string(&whole)
}
