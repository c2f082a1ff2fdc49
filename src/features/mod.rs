//! Work: features of many things, made by many workers over hours.
//!
//! [`extraction`] has what workers save as they go, so that a crash costs minutes, and puts it together in the end.

pub mod extraction;
