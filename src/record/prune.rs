use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::friendly::SpanPrinter;
use serde::{Deserialize, Serialize};

use super::CheckpointId;

/// The name and version of the document that a plan of removals is printed in.
pub const PRUNE_SCHEMA: &str = "ckpt.prune/1";

/// What is known of a committed checkpoint, or of one that isn't yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointStanding {
    /// It was verified: the work can go on from it.
    Good,
    /// Nobody knows: it wasn't verified, it could not be read, or this reader can't use it.
    Unverified,
    /// Its bytes are damaged.
    Bad,
    /// It isn't committed yet, or its saving was interrupted.
    InFlight,
}

impl CheckpointStanding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Good, Self::Unverified, Self::Bad, Self::InFlight];

    /// Returns the word used in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unverified => "unverified",
            Self::Bad => "bad",
            Self::InFlight => "in-flight",
        }
    }
}

impl fmt::Display for CheckpointStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The smallest, as of a loss.
    Min,
    /// The largest, as of an accuracy.
    Max,
}

impl Goal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Min, Self::Max];

    /// Returns the word used in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What becomes of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneAction {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

impl PruneAction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Keep, Self::Remove];

    /// Returns the word used in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

impl fmt::Display for PruneAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a checkpoint stays, or goes. All that hold are given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// It is one of the newest good ones.
    Last {
        /// Its place among them, the newest being 1.
        place: u64,
        /// How many of them are kept.
        of: u64,
    },
    /// It is the first good one of its generation from some step on.
    EverySteps {
        /// The number of steps from each to the next.
        steps: u64,
        /// The step from which on it is the first.
        from: u64,
    },
    /// It is the first good one of its generation since some time.
    EveryTime {
        /// The seconds from each to the next.
        seconds: u64,
        /// The time since when it is the first.
        from: Timestamp,
    },
    /// It isn't much older than the newest good one.
    Within {
        /// How many seconds older it may be.
        seconds: u64,
    },
    /// It is one of the best good ones by a metric.
    Best {
        /// The metric's name.
        metric: String,
        /// Which values are better.
        goal: Goal,
        /// What was measured.
        value: f64,
        /// Its place among the best, the best being 1.
        place: u64,
        /// How many of them are kept.
        of: u64,
    },
    /// Somebody pinned it.
    Pinned,
    /// It is the newest that is known to be good.
    NewestGood,
    /// Nobody knows whether it is good.
    Unverified,
    /// It isn't committed yet.
    InFlight,
    /// It is damaged, and nobody asked to remove those.
    DamagedKept,
    /// It is damaged, and no newer one is known to be good.
    DamagedNewest,
    /// It is damaged, and a newer one is good.
    Damaged,
    /// It is good, and no rule keeps it.
    NoRule,
}

impl Reason {
    /// Returns the word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Last { .. } => "last",
            Self::EverySteps { .. } => "every-steps",
            Self::EveryTime { .. } => "every-time",
            Self::Within { .. } => "within",
            Self::Best { .. } => "best",
            Self::Pinned => "pinned",
            Self::NewestGood => "newest-good",
            Self::Unverified => "unverified",
            Self::InFlight => "in-flight",
            Self::DamagedKept => "damaged-kept",
            Self::DamagedNewest => "damaged-newest",
            Self::Damaged => "damaged",
            Self::NoRule => "no-rule",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time =
            |seconds: &u64| SpanPrinter::new().unsigned_duration_to_string(&Duration::from_secs(*seconds));
        match self {
            Self::Last { place, of } => write!(f, "number {place} of the last {of}"),
            Self::EverySteps { steps, from } => {
                write!(f, "the first from step {from} on, of every {steps} steps")
            }
            Self::EveryTime { seconds, from } => {
                write!(f, "the first since {from:.0}, of every {}", time(seconds))
            }
            Self::Within { seconds } => write!(f, "within {} of the newest good one", time(seconds)),
            Self::Best { metric, goal, value, place, of } => {
                write!(f, "number {place} of the best {of} by {metric}, {goal}: {value}")
            }
            Self::Pinned => f.write_str("pinned"),
            Self::NewestGood => f.write_str("the newest that is known to be good"),
            Self::Unverified => f.write_str("not known to be good, nor to be damaged"),
            Self::InFlight => f.write_str("not committed yet"),
            Self::DamagedKept => f.write_str("damaged, and those aren't to be removed"),
            Self::DamagedNewest => f.write_str("damaged, and no newer one is known to be good"),
            Self::Damaged => f.write_str("damaged, and a newer one is good"),
            Self::NoRule => f.write_str("no rule keeps it"),
        }
    }
}

/// What becomes of one checkpoint, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The checkpoint.
    pub id: CheckpointId,
    /// What is known of it.
    pub standing: CheckpointStanding,
    /// Its size in bytes: what its removal would free.
    pub bytes: u64,
    /// What becomes of it.
    pub action: PruneAction,
    /// Why, with at least one reason.
    pub reasons: Vec<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_json() {
        let from = Timestamp::UNIX_EPOCH;
        let best = Reason::Best { metric: "loss".into(), goal: Goal::Min, value: 0.5, place: 1, of: 2 };
        for reason in [
            Reason::Last { place: 1, of: 3 },
            Reason::EverySteps { steps: 1000, from: 2000 },
            Reason::EveryTime { seconds: 60, from },
            Reason::Within { seconds: 60 },
            best,
            Reason::Pinned,
            Reason::NewestGood,
            Reason::Unverified,
            Reason::InFlight,
            Reason::DamagedKept,
            Reason::DamagedNewest,
            Reason::Damaged,
            Reason::NoRule,
        ] {
            let json = serde_json::to_value(&reason).unwrap();
            assert_eq!(json["reason"], reason.as_str());
            assert_eq!(serde_json::from_value::<Reason>(json).unwrap(), reason);
        }
        for standing in CheckpointStanding::ALL {
            assert_eq!(serde_json::to_value(standing).unwrap(), standing.as_str());
        }
        assert_eq!(serde_json::to_value(PruneAction::ALL).unwrap(), serde_json::json!(["keep", "remove"]));
        assert_eq!(serde_json::to_value(Goal::ALL).unwrap(), serde_json::json!(["min", "max"]));
    }

    #[test]
    fn reasons_read_as_sentences() {
        let best = Reason::Best { metric: "loss".into(), goal: Goal::Min, value: 0.5, place: 1, of: 2 };
        assert_eq!(best.to_string(), "number 1 of the best 2 by loss, min: 0.5");
        let time = Reason::EveryTime { seconds: 21_600, from: Timestamp::UNIX_EPOCH };
        assert_eq!(time.to_string(), "the first since 1970-01-01T00:00:00Z, of every 6h");
    }
}
