//! Several checkpoints in one file, one behind the other.
//!
//! Each is an archive that is complete in itself, with its own proof: who knows where one lies reads it alone. That
//! is what each rank of a job writes with `torch.distributed.checkpoint`. All of them are one piece of work for the
//! writer: thousands of small ones cost a few large writes and one sync.

mod encoding;
mod item;
mod run;
#[cfg(test)]
mod tests;

pub use item::{SavedItem, SavedSeries, SeriesItem};
pub use run::{save_series, save_series_on};
