//! From which checkpoint the work goes on.
//!
//! `find` is what is asked for; `walk` goes back from the newest, `attempt` verifies one while it is loaded,
//! `together` has the processes of a job agree on one.

mod attempt;
mod find;
mod found;
mod options;
mod together;
mod walk;

pub use find::{latest, resume};
pub use found::{Latest, Resumed};
pub use options::ResumeOptions;
pub(super) use together::resume_after;
pub use together::resume_together;
