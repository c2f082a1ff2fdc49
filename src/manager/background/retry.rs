use std::error::Error as _;
use std::io;
use std::time::Duration;

use crate::Error;

/// How often a save is tried that failed for a reason that may pass, and how long is waited in between.
///
/// Such reasons are an error of the device or of the network file system (`EIO`, `ESTALE`, `ETIMEDOUT`), and no
/// room (`ENOSPC`, `EDQUOT`): something else may make some. Each attempt begins anew, with a new file: what a
/// failed sync leaves of a file can't be trusted.
///
/// ```
/// use std::time::Duration;
/// use ckpt::manager::background::Retry;
/// let retry = Retry { attempts: 4, first: Duration::from_secs(1), longest: Duration::from_secs(3) };
/// let delays: Vec<_> = (1..=4).map(|failed| retry.delay(failed).map(|delay| delay.as_secs())).collect();
/// assert_eq!(delays, [Some(1), Some(2), Some(3), None]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The most attempts, the first included. 0 counts as 1.
    pub attempts: u32,
    /// How long is waited after the first failure; after each further one twice as long.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Retry {
    /// Five attempts: after 1, 2, 4 and 8 seconds.
    fn default() -> Self {
        Self { attempts: 5, first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

impl Retry {
    /// Never tries again.
    pub const NEVER: Self = Self { attempts: 1, first: Duration::ZERO, longest: Duration::ZERO };

    /// Returns how long to wait after as many failures; `None` to give up.
    pub fn delay(&self, failed: u32) -> Option<Duration> {
        let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
        (failed < self.attempts).then(|| self.first.saturating_mul(doubled).min(self.longest))
    }
}

/// Returns whether an error may pass.
pub(crate) fn is_transient(error: &Error) -> bool {
    let Some(source) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) else {
        return false;
    };
    let by_kind = matches!(
        source.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::StaleNetworkFileHandle
            | io::ErrorKind::TimedOut
    );
    by_kind || source.raw_os_error().is_some_and(is_device_error)
}

/// Returns whether a code is that of an error of the device, which has no kind of its own.
#[cfg(unix)]
fn is_device_error(code: i32) -> bool {
    code == rustix::io::Errno::IO.raw_os_error()
}

/// Says no: elsewhere there is no such code.
#[cfg(not(unix))]
fn is_device_error(_code: i32) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = Retry { attempts: 50, ..Retry::default() };
        let seconds = |failed| retry.delay(failed).map(|delay| delay.as_secs());
        assert_eq!([1, 2, 5, 6, 40].map(seconds), [Some(1), Some(2), Some(16), Some(30), Some(30)]);
        assert_eq!(seconds(50), None);
        assert_eq!(Retry::NEVER.delay(1), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        use rustix::io::Errno;
        let of = |source| is_transient(&Error::io("x", "write it", source));
        for errno in [Errno::IO, Errno::STALE, Errno::NOSPC, Errno::DQUOT, Errno::TIMEDOUT] {
            assert!(of(errno.into()), "{errno}");
        }
        assert!(of(io::ErrorKind::StorageFull.into()));
        for errno in [Errno::ACCESS, Errno::ROFS, Errno::NOENT, Errno::EXIST, Errno::INVAL] {
            assert!(!of(errno.into()), "{errno}");
        }
        assert!(!is_transient(&Error::usage("no")));
    }
}
