//! Features: their extraction in shards, and merges.

mod extraction;
mod pairs;
mod writer;

pub(crate) use extraction::{Extraction, aggregate, extraction_manifest, extraction_todo, stalled_ranks};
pub(crate) use pairs::{merge, merge_all, pairs_in};
pub(crate) use writer::ShardWriter;
