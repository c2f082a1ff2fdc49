//! Keeping: one checkpoint in and out, by format, commit and check together.
//!
//! [`scrub`] reads again what was verified longest ago.

pub mod scrub;

pub use self::scrub::{Scrub, ScrubOptions};
