//! The manager of a run's checkpoints.
//!
//! `front` is the class, `options` what it is made with, `ticket` a save on its way; `events` brings to Python what
//! happens, `exchange` to the core what the processes of a job say to one another; `described` has what is returned.

mod described;
mod events;
mod exchange;
mod front;
mod options;
mod ticket;

pub(crate) use front::Manager;
pub(crate) use ticket::Ticket;
