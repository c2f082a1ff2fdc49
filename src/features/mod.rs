//! Features: rows of numbers by id, made by many workers over hours, and joined.
//!
//! [`extraction`] has what workers save as they go, so that a crash costs minutes, and puts it together in the end;
//! [`table`] reads the files that hold features, whatever form they have; [`mod@merge`] joins two of them by id.

pub mod extraction;
pub mod merge;
pub mod table;
