use super::{Data, StorageId, Tree};

/// What is saved and loaded: an ordered map of names to tensors and plain values.
///
/// The values are a [`Tree`]; the bytes of its storages lie beside it, borrowed from the caller or shared.
/// Tensors that share a storage go on sharing it when they are saved and loaded again.
#[derive(Clone, Debug)]
pub struct State<'a> {
    tree: Tree,
    /// One for each storage of the tree, in the same order.
    data: Vec<Data<'a>>,
}

impl<'a> State<'a> {
    /// Makes a state of values and of the bytes of their storages: one for each, in the same order. A
    /// storage without bytes (of a meta tensor) has empty ones.
    pub fn from_parts(tree: Tree, data: Vec<Data<'a>>) -> Self {
        Self { tree, data }
    }

    /// Returns the values.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the bytes of a storage.
    pub fn data(&self, id: StorageId) -> Option<&Data<'a>> {
        self.data.get(id.0 as usize)
    }
}
