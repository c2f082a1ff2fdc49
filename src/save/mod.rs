//! Keeping: one checkpoint in and out, by format, commit and check together.
//!
//! [`save()`] makes a file of a state and doesn't return before it would survive a loss of power; it takes
//! its name only after it was read back and verified, so that there is never half a checkpoint.
//! [`load()`] brings it back, verified while it is read. [`copy()`] makes a copy in the same way, [`seal()`]
//! notes the digests of a file that carries no proof, and [`Scrub`] reads again what was verified longest ago.
//! [`save_series()`] puts several checkpoints into one file.
//! [`convert()`] brings a file into another format, [`diff()`] says how two differ, and [`salvage()`] saves what is
//! intact of a damaged one.

mod companions;
mod convert;
mod copy;
mod diff;
mod load;
mod marker;
mod names;
mod options;
mod salvage;
mod saved;
pub mod scrub;
mod seal;
mod series;
mod stamp;
mod store;
#[cfg(test)]
mod tests;

pub use convert::{ConvertOptions, convert};
pub use copy::{CopyOptions, Copying, copy};
pub use diff::{DiffOptions, diff};
pub use load::{Access, LoadOptions, Target, load, load_into};
pub(crate) use load::{Loaded, load_checked, load_whole, metadata_of};
pub use options::{Format, Progress, SaveOptions};
pub use salvage::{SalvageOptions, salvage};
pub use saved::Saved;
pub use scrub::{Scrub, ScrubOptions};
pub use seal::{SealOptions, seal};
pub use series::{SavedItem, SavedSeries, SeriesItem, save_series, save_series_on};
pub(crate) use store::save_checked;
pub use store::{save, save_on, save_pickled, save_pickled_on};
