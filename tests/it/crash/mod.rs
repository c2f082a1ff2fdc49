//! What is left of a save when the power goes, a call fails, or the process is killed.
//!
//! A [`FakeDisk`](disk::FakeDisk) keeps a journal of all calls of one save. From the journal come the
//! images that a loss of power at any call may leave behind ([`power`]), without saving anew.

mod cuts;
mod disk;
mod extraction;
mod fault;
mod faults;
mod file;
mod image;
mod journal;
mod judge;
mod managed;
mod names;
mod pipeline;
mod power;
mod protocol;
pub(crate) mod random;
#[cfg(unix)]
mod real;
mod replaced;
mod saving;
mod scenario;
mod series;
mod survival;
