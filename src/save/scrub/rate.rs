//! No more bytes a second than were asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Clock;

/// How much of the time in which nothing was read may be made up for: enough that the pauses between two
/// reads count, too little to disturb others with a burst.
const CREDIT: Duration = Duration::from_millis(250);

/// A bucket of tokens, one to a byte, that fills at a steady rate. Whoever has read bytes takes as many, and
/// waits for those that aren't there yet.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second; `None` where there is no bound.
    rate: Option<u64>,
    clock: Arc<dyn Clock>,
    /// The time of the clock at which all bytes that were taken so far will have been paid for.
    paid: Mutex<Duration>,
}

impl Bucket {
    /// Makes a bucket that fills with `rate` bytes a second; a rate of 0 counts as 1.
    pub(super) fn new(rate: Option<u64>, clock: Arc<dyn Clock>) -> Self {
        Self { rate: rate.map(|rate| rate.max(1)), paid: Mutex::new(clock.elapsed()), clock }
    }

    /// Takes `bytes`, and waits until they are paid for. Called by several threads, each waits for all.
    pub(super) fn take(&self, bytes: u64) {
        let Some(price) = self.price(bytes) else { return };
        let now = self.clock.elapsed();
        let paid = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            *paid = (*paid).max(now.saturating_sub(CREDIT)).saturating_add(price);
            *paid
        };
        let wait = paid.saturating_sub(now);
        if !wait.is_zero() {
            self.clock.sleep(wait);
        }
    }

    /// Returns how long `bytes` take at least; `None` where there is no bound.
    pub(super) fn price(&self, bytes: u64) -> Option<Duration> {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate?);
        Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::clock::tests::StillClock;
    use super::*;

    fn bucket(rate: Option<u64>) -> (Bucket, Arc<StillClock>) {
        let clock = Arc::new(StillClock::at(Timestamp::UNIX_EPOCH));
        (Bucket::new(rate, clock.clone()), clock)
    }

    #[test]
    fn bytes_take_the_time_of_their_rate() {
        let (bucket, clock) = bucket(Some(100));
        for _ in 0..10 {
            bucket.take(50);
        }
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
        bucket.take(0);
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn the_time_of_reading_counts_and_a_long_pause_makes_no_burst() {
        let (bucket, clock) = bucket(Some(100));
        bucket.take(100);
        // What took 200 ms to read is paid for by 200 ms.
        clock.sleep(Duration::from_millis(200));
        bucket.take(20);
        assert_eq!(clock.elapsed(), Duration::from_millis(1200));
        clock.sleep(Duration::from_hours(1));
        let before = clock.elapsed();
        bucket.take(1000);
        assert_eq!(clock.elapsed() + CREDIT, before + Duration::from_secs(10));
    }

    #[test]
    fn without_a_bound_nobody_waits() {
        let (bucket, clock) = bucket(None);
        bucket.take(u64::MAX);
        assert_eq!((clock.elapsed(), bucket.price(1)), (Duration::ZERO, None));
    }

    #[test]
    fn the_largest_numbers_are_long_waits_and_no_overflow() {
        let (bucket, clock) = bucket(Some(0));
        bucket.take(u64::MAX);
        bucket.take(u64::MAX);
        assert!(clock.elapsed() > Duration::from_hours(100_000));
    }
}
