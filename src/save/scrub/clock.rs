use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What time it is. Tests have one that waits for nobody.
pub trait Clock: Send + Sync + Debug {
    /// Returns the time of day, which the memory is written with.
    fn now(&self) -> Timestamp;

    /// Returns how long the clock has been running. Never goes back, whoever sets the time of day.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The computer's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A clock that stands still, but where somebody sleeps.
    #[derive(Debug)]
    pub(in crate::save::scrub) struct StillClock {
        start: Timestamp,
        elapsed: Mutex<Duration>,
    }

    impl StillClock {
        pub(in crate::save::scrub) fn at(start: Timestamp) -> Self {
            Self { start, elapsed: Mutex::new(Duration::ZERO) }
        }
    }

    impl Clock for StillClock {
        fn now(&self) -> Timestamp {
            self.start + self.elapsed()
        }

        fn elapsed(&self) -> Duration {
            *self.elapsed.lock().unwrap()
        }

        fn sleep(&self, duration: Duration) {
            *self.elapsed.lock().unwrap() += duration;
        }
    }

    #[test]
    fn the_computers_clock_goes() {
        let clock = SystemClock::default();
        let before = (clock.now(), clock.elapsed());
        clock.sleep(Duration::from_millis(2));
        assert!(clock.elapsed() >= before.1 + Duration::from_millis(2) && clock.now() > before.0);
    }
}
