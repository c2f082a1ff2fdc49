//! What may go: decided first, with all reasons, and then done.
//!
//! [`plan()`] is pure: it is given what is there and what is known of it, and says of each checkpoint whether it
//! stays and why. [`Plan::apply`] removes, oldest first. The rules are a [`Policy`]; a checkpoint that any of them
//! keeps is kept.
//!
//! Whatever the policy says:
//!
//! - Only checkpoints that are known to be good count. One that wasn't verified, that is damaged, or that is still
//!   being saved takes nobody's place: "the last three" are the last three that the work could go on from.
//! - The newest good one stays, and so do pinned ones.
//! - What nobody has verified stays, and so does what isn't committed yet: it may be somebody's newest.
//! - A damaged one goes only where that is asked for, and a newer one is good.
//! - A policy that keeps nothing is an error, and so is one that keeps the best by a metric that nobody measured: a
//!   typing error removes nothing.
//!
//! No clock is needed: times are compared with those of the newest good checkpoint, so that a run that rested for
//! a week loses nothing by it. Planning again after a plan was applied removes nothing more.
//!
//! ```
//! use ckpt::manager::retention::{Candidate, Policy, plan};
//! use ckpt::record::{CheckpointId, CheckpointStanding};
//!
//! let good = |step| {
//!     let id = CheckpointId { generation: 0, step };
//!     Candidate::new(id, CheckpointStanding::Good)
//! };
//! let there = [100, 200, 300, 400, 500].map(good);
//! let policy = Policy::default().keep_last(2).keep_every("200".parse()?);
//! let plan = plan(&there, &policy)?;
//! let gone: Vec<u64> = plan.removals().map(|decision| decision.id.step).collect();
//! assert_eq!(gone, [300]);
//! # Ok::<(), ckpt::Error>(())
//! ```

mod apply;
mod candidate;
mod plan;
mod policy;
mod rules;
#[cfg(test)]
mod tests;

pub use apply::Pruned;
pub use candidate::Candidate;
pub use plan::{Plan, plan};
pub use policy::{Best, Every, Policy, Rule};
