use std::ops::Range;

use crate::tensor::Tree;

/// What a safetensors file holds, and where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contents {
    /// The values.
    pub tree: Tree,
    /// Where each storage's bytes lie, counted from the file's start, in the order of the tree's storages.
    /// `None` for a storage without bytes, as of a meta tensor; a storage that is a part lies inside another.
    pub ranges: Vec<Option<Range<u64>>>,
}
