use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::friendly::SpanPrinter;

use crate::Error;
use crate::record::{Goal, parse_duration};

/// The rules by which checkpoints are kept. One that any rule keeps is kept.
///
/// ```
/// use ckpt::manager::retention::Policy;
/// // The last three; the two best by loss; and one of every day, for ever.
/// let policy = Policy::default()
///     .keep_last(3)
///     .keep_best("val_loss:min:2".parse()?)
///     .keep_every("1d".parse()?);
/// assert_eq!(policy.to_string(), "last 3, best val_loss:min:2, every 24h");
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    remove_damaged: bool,
}

/// What one rule keeps, of the checkpoints that are known to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The newest ones, this many.
    Last(u64),
    /// One of every so many steps, or of every so long a time.
    Every(Every),
    /// Those that aren't older by more than this than the newest.
    Within(Duration),
    /// The best by a metric.
    Best(Best),
}

/// How far those that are kept of a long history lie apart.
///
/// The history is cut into windows, at the multiples of the number (of the duration: counted from 1970, in UTC), and
/// the first checkpoint of each window is kept. So it depends on a window's checkpoints alone which is kept: a newer
/// one never takes its place. Each generation has windows of its own, because the one that was walked back from isn't
/// the one that the work goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Every {
    /// A number of training steps. A checkpoint at a multiple of it is the first of its window.
    Steps(u64),
    /// A duration.
    Time(Duration),
}

/// Which checkpoints are the best: those with the smallest or the largest of what was measured.
///
/// A checkpoint that has no such metric has no part in it, and neither has one whose value is no finite number. Of
/// equal ones the newer is the better.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Best {
    /// The metric's name.
    pub metric: String,
    /// Which values are better.
    pub goal: Goal,
    /// How many are kept.
    pub count: u64,
}

impl Policy {
    /// Keeps the newest ones, this many.
    #[must_use]
    pub fn keep_last(self, count: u64) -> Self {
        self.with_rule(Rule::Last(count))
    }

    /// Keeps one of every so many steps, or of every so long a time.
    #[must_use]
    pub fn keep_every(self, every: Every) -> Self {
        self.with_rule(Rule::Every(every))
    }

    /// Keeps those that aren't older by more than this than the newest good one.
    #[must_use]
    pub fn keep_within(self, duration: Duration) -> Self {
        self.with_rule(Rule::Within(duration))
    }

    /// Keeps the best by a metric.
    #[must_use]
    pub fn keep_best(self, best: Best) -> Self {
        self.with_rule(Rule::Best(best))
    }

    /// Adds a rule.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Says whether damaged ones go, where a newer one is good. Default: they stay.
    #[must_use]
    pub fn remove_damaged(mut self, remove: bool) -> Self {
        self.remove_damaged = remove;
        self
    }

    /// Returns the rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns whether damaged ones go.
    pub fn removes_damaged(&self) -> bool {
        self.remove_damaged
    }

    /// Says whether the rules make sense, before anything is looked at.
    ///
    /// # Errors
    ///
    /// [`Usage`](crate::ErrorKind::Usage): there is no rule, or one that can't keep anything.
    pub fn check(&self) -> Result<(), Error> {
        if self.rules.is_empty() {
            let message = "the policy has no rule, and would remove all but one: say what is to be kept";
            return Err(Error::usage(message));
        }
        match self.rules.iter().find(|rule| rule.is_void()) {
            Some(rule) => Err(Error::usage(format!("the rule '{rule}' keeps nothing: give a larger number"))),
            None => Ok(()),
        }
    }
}

impl Rule {
    /// Returns whether no checkpoint can ever satisfy it.
    fn is_void(&self) -> bool {
        match self {
            Self::Last(count) | Self::Every(Every::Steps(count)) => *count == 0,
            // Of less than a second, it is a mistake in the unit.
            Self::Every(Every::Time(duration)) | Self::Within(duration) => duration.as_secs() == 0,
            Self::Best(best) => best.count == 0,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, rule) in self.rules.iter().enumerate() {
            write!(f, "{}{rule}", if number == 0 { "" } else { ", " })?;
        }
        if self.remove_damaged { f.write_str("; damaged ones go") } else { Ok(()) }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(count) => write!(f, "last {count}"),
            Self::Every(every) => write!(f, "every {every}"),
            Self::Within(duration) => write!(f, "within {}", friendly(*duration)),
            Self::Best(best) => write!(f, "best {best}"),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Time(duration) => f.write_str(&friendly(*duration)),
        }
    }
}

impl fmt::Display for Best {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.metric, self.goal, self.count)
    }
}

impl FromStr for Every {
    type Err = Error;

    /// Reads a number of steps, `1000`, or a duration, `6h`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let read = if is_number {
            text.parse().map(Self::Steps).map_err(|_| "the number is too large")
        } else {
            parse_duration(text).map(Self::Time)
        };
        let every = read.map_err(|why| {
            Error::usage(format!("'{text}' is neither a number of steps nor a duration: {why}"))
        })?;
        if Rule::Every(every).is_void() {
            return Err(Error::usage(format!("'{text}' is too small: give at least 1 step, or 1s")));
        }
        Ok(every)
    }
}

impl FromStr for Best {
    type Err = Error;

    /// Reads `METRIC:min` or `METRIC:max`, with the number of those to keep behind it, `METRIC:min:2`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::usage(format!("'{text}' says no best: METRIC:min:COUNT, or METRIC:max:COUNT"));
        let goal = |word: &str| Goal::ALL.into_iter().find(|goal| goal.as_str() == word);
        // From behind, because a metric's name may have colons.
        let (front, last) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (metric, goal, count) = if let Some(goal) = goal(last) {
            (front, goal, 1)
        } else {
            let (metric, word) = front.rsplit_once(':').ok_or_else(wrong)?;
            (metric, goal(word).ok_or_else(wrong)?, last.parse().map_err(|_| wrong())?)
        };
        if metric.is_empty() || count == 0 {
            return Err(wrong());
        }
        Ok(Self { metric: metric.to_owned(), goal, count })
    }
}

/// Returns a duration as it is given: `6h`, `1h 30m`.
fn friendly(duration: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_they_are_given() {
        assert_eq!("1000".parse::<Every>().unwrap(), Every::Steps(1000));
        assert_eq!("6h".parse::<Every>().unwrap(), Every::Time(Duration::from_hours(6)));
        assert_eq!("1d 12h".parse::<Every>().unwrap(), Every::Time(Duration::from_hours(36)));
        for text in ["", "0", "0s", "500ms", "-6h", "1mo", "often", "1000 steps", "18446744073709551616"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_best_are_read_from_behind() {
        let best = |metric: &str, goal, count| Best { metric: metric.to_owned(), goal, count };
        for (text, read) in [
            ("val_loss:min:2", best("val_loss", Goal::Min, 2)),
            ("accuracy:max", best("accuracy", Goal::Max, 1)),
            ("val:top:5:max:3", best("val:top:5", Goal::Max, 3)),
            ("a:min:max", best("a:min", Goal::Max, 1)),
        ] {
            assert_eq!(text.parse::<Best>().unwrap(), read, "{text}");
            assert_eq!(read.to_string().parse::<Best>().unwrap(), read, "{text}");
        }
        for text in ["", "val_loss", "val_loss:2", ":min:2", "val_loss:min:0", "val_loss:least:2", "a:min:-1"]
        {
            assert!(text.parse::<Best>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_that_keeps_nothing_is_refused() {
        let policy = Policy::default;
        let second = Duration::from_secs(1);
        for wrong in [
            policy(),
            policy().remove_damaged(true),
            policy().keep_last(0),
            policy().keep_last(3).keep_every(Every::Steps(0)),
            policy().keep_within(Duration::ZERO),
            policy().keep_every(Every::Time(second / 2)),
            policy().keep_best(Best { metric: "loss".into(), goal: Goal::Min, count: 0 }),
        ] {
            assert!(wrong.check().is_err(), "{wrong}");
        }
        policy().keep_last(1).keep_every(Every::Steps(1)).keep_within(second).check().unwrap();
    }
}
