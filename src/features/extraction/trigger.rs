//! When the rows at hand are due to be saved.

use std::time::Duration;

use super::ExtractionOptions;

/// The rules: see [`ExtractionOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    rows: u64,
    time: Duration,
    emergency: Duration,
}

/// What becomes of the rows at hand if nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// There are none.
    Never,
    /// They are due after this time.
    In(Duration),
    /// They are due.
    Now,
}

impl Trigger {
    pub(super) fn of(options: &ExtractionOptions) -> Self {
        Self { rows: options.rows.max(1), time: options.time, emergency: options.longest_wait() }
    }

    /// Says when so many rows are due, of which the first has waited so long. While a batch is open, their number
    /// doesn't count, and only the longest wait does.
    pub(super) fn due(&self, rows: u64, waited: Duration, is_in_batch: bool) -> Due {
        let longest = if is_in_batch { self.emergency } else { self.time };
        match longest.checked_sub(waited) {
            _ if rows == 0 => Due::Never,
            _ if !is_in_batch && rows >= self.rows => Due::Now,
            None | Some(Duration::ZERO) => Due::Now,
            Some(left) => Due::In(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn trigger() -> Trigger {
        Trigger::of(&ExtractionOptions::default().with_rows(100).with_time(secs(60)))
    }

    #[test]
    fn rows_or_time_make_them_due() {
        let due = |rows, waited| trigger().due(rows, secs(waited), false);
        assert_eq!(due(0, 1000), Due::Never);
        assert_eq!(due(99, 0), Due::In(secs(60)));
        assert_eq!(due(1, 59), Due::In(secs(1)));
        assert_eq!(due(1, 60), Due::Now);
        assert_eq!(due(100, 0), Due::Now);
        assert_eq!(due(1000, 0), Due::Now);
    }

    #[test]
    fn within_a_batch_only_an_emergency_does() {
        let due = |rows, waited| trigger().due(rows, secs(waited), true);
        assert_eq!(due(0, 1000), Due::Never);
        assert_eq!(due(1000, 60), Due::In(secs(120)));
        assert_eq!(due(1, 179), Due::In(secs(1)));
        assert_eq!(due(1, 180), Due::Now);
    }

    #[test]
    fn an_emergency_never_comes_before_the_usual_time() {
        let options = ExtractionOptions::default().with_time(secs(60)).with_emergency(secs(1));
        assert_eq!(Trigger::of(&options).due(1, secs(30), true), Due::In(secs(30)));
        let longest = ExtractionOptions::default().with_time(Duration::MAX).with_rows(0);
        assert_eq!(Trigger::of(&longest).due(1, Duration::MAX, true), Due::Now);
        assert_eq!(Trigger::of(&longest).due(1, secs(0), false), Due::Now, "0 rows count as 1");
    }
}
