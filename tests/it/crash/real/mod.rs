//! The same on real file systems, with a real process.
//!
//! A [`writer`] is this very program, started anew; it saves generation after generation over one file. What
//! a machine can't do (mount, trace) is left out, and the reason printed.

mod beside;
mod full;
mod images;
mod kill;
mod managed;
mod mount;
mod places;
mod trace;
mod writer;
