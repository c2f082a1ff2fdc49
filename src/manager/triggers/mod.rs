//! When to save: at intervals, on a signal, and in time before the job ends.
//!
//! [`Triggers::should_save`] is asked once per step, and costs next to nothing. It answers with a [`Due`]: save and
//! go on, or save a last time and stop. It decides, and saves nothing; [`Triggers::saved`] and
//! [`Triggers::skipped`] tell it what became of what was due. (The manager does both.)
//!
//! - An interval that fired doesn't fire again before its save is answered for. After a long pause it fires once, and
//!   not once for each save that was missed.
//! - A **signal** sets a flag, and nothing else; the next question sees it. It may come in the midst of a save, before
//!   the first step, or twice: one last save follows, which a second signal doesn't disturb.
//! - A **deadline** fires while there is just time for one more save: as long as the longest of the last few took,
//!   and the longest of the last steps, and a margin. Nobody is asked to guess how long saving takes.
//! - A last save that failed is due again at the next step, as long as there is one.
//!
//! Where a job is to be queued again after its last save, it ends with [`EXIT_REQUEUE`].
//!
//! The library reads no environment. Under Slurm, the end of the job is in `SLURM_JOB_END_TIME`, in seconds since 1970
//! (inside the job; `--time` and a suspended job's time are in it):
//!
//! ```
//! use std::time::Duration;
//! use ckpt::manager::triggers::{Deadline, TriggerOptions, Triggers};
//!
//! let mut options = TriggerOptions::default().every(Duration::from_mins(10)).on_usual_signals();
//! if let Some(end) = std::env::var("SLURM_JOB_END_TIME").ok().and_then(|end| end.parse().ok()) {
//!     options = options.before(Deadline::at_second(end)?);
//! }
//! let mut triggers = Triggers::new(&options)?;
//! for step in 1..=3 {
//!     // … a step of the training …
//!     if let Some(due) = triggers.should_save(step) {
//!         // … the save …
//!         triggers.saved(step, Duration::from_secs(2));
//!         if due.is_final() {
//!             // … requeue: std::process::exit(EXIT_REQUEUE.into())
//!             break;
//!         }
//!     }
//! }
//! # Ok::<(), ckpt::Error>(())
//! ```
//!
//! A batch script then asks for a warning by signal as well, and queues itself again:
//!
//! ```sh
//! #SBATCH --requeue
//! #SBATCH --signal=TERM@300
//! srun train || { [ $? -eq 75 ] && scontrol requeue "$SLURM_JOB_ID"; }
//! ```
//!
//! Spot machines announce their end by a signal, or through a service that the program asks; what that says becomes a
//! [`Deadline`] with [`Triggers::end_by`].

mod due;
mod interval;
mod options;
mod pace;
mod signals;
#[cfg(test)]
mod tests;
mod watch;

pub use due::{Due, Why};
pub use options::{Deadline, EXIT_REQUEUE, TriggerOptions};
pub use signals::{Answer, Signal};
pub use watch::Triggers;
