//! Features: embeddings by id, extracted in pieces and joined.
//!
//! [`table`] reads the files that hold them, whatever form they have; [`mod@merge`] joins two of them by id.

pub mod merge;
pub mod table;
