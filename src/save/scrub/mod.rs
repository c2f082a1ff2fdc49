//! Verifying again what was verified longest ago: storage loses bits in silence.
//!
//! Disks, controllers and cables change bytes without a word, and a file system that has no checksums hands them
//! out as they are. What isn't read for months is found damaged when it is needed. A scrub reads all of it in turn,
//! slowly enough to disturb nobody:
//!
//! - Bytes that a proof, checksums or a seal vouch for are held against that.
//! - Other bytes are read as well, and their digest is remembered: where it is another one the next time, though
//!   neither size nor time of modification changed, nobody wrote them, and they are damaged. What happened to them
//!   before the first time can't be told.
//! - What can't be read at all is *unreadable*: a failing disk shows first that way.
//!
//! Nothing is repaired, moved or deleted.
//!
//! A [`Scrub`] is one run. It finds the checkpoints of a directory, plans by what it remembers of earlier
//! runs ([`memory`], [`mod@plan`]), reads at a bounded rate (`rate`), and remembers (`store`).

mod check;
mod clock;
mod lock;
pub mod memory;
mod options;
pub mod plan;
mod rate;
mod run;
mod store;
#[cfg(test)]
mod tests;

pub use clock::{Clock, SystemClock};
pub use options::ScrubOptions;
pub use run::Scrub;
