//! Saving while the work goes on.
//!
//! A [`Saver`] has one thread of its own, which writes one checkpoint after the other. Who saves waits only
//! until the state is copied ([`Staging`](crate::io::Staging)); what is written is the copy. How a checkpoint
//! comes to its place is not known here: the saver is given a function that does it.
//!
//! | file | has |
//! |---|---|
//! | `saver` | the door: what a call does, in order |
//! | `queue` | who waits for what: the one lock |
//! | `worker` | the thread: panics, what follows from a failure |
//! | `attempts` | trying again |
//! | `failures` | what nobody has been told yet |
//!
//! An error can't be missed. It is returned by the save's [`Ticket`] and by [`Saver::finish`]; with
//! [`OnFailure::Stop`] by every call that follows; the reporter hears it when it happens. Where nobody has
//! asked and there is no reporter, it is printed when the saver is dropped: the one place below the faces
//! that prints, since the alternative is that a job of days ends without its last checkpoints, and silently.

mod attempts;
mod failures;
mod last_words;
mod options;
mod priority;
mod queue;
mod retry;
mod saver;
#[cfg(test)]
mod tests;
mod ticket;
mod worker;

pub(super) use attempts::attempt;
pub(crate) use last_words::say as say_last_words;
pub use options::{After, OnFailure, SaverOptions, WhenBusy};
pub use retry::Retry;
pub(crate) use retry::is_transient;
pub use saver::Saver;
pub use ticket::{Outcome, Ticket};
pub use worker::{Commit, Job};
