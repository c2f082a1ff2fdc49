//! Verifying again what was verified longest ago: storage loses bits in silence.
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
