//! Trees, node by node: for who converts the values of another language.

use super::{Node, NodeId, Storage, StorageId, Tree};
use crate::Error;

/// Makes a [`Tree`] node by node, the inner ones first.
///
/// [`State::insert`](super::State::insert) is simpler, and enough for plain values; this makes all that a checkpoint
/// can hold: sets, ordered maps with attributes, strided views.
///
/// ```
/// use ckpt::State;
/// use ckpt::tensor::{Map, MapKind, Node, TreeBuilder};
///
/// let mut builder = TreeBuilder::default();
/// let key = builder.node(Node::Text("step".into()))?;
/// let step = builder.node(Node::Int(3))?;
/// let map = Map { entries: vec![(key, step)], attributes: None };
/// let root = builder.node(Node::Map(MapKind::OrderedDict, Some(Box::new(map))))?;
/// let state = State::from_parts(builder.finish(root)?, Vec::new());
/// assert_eq!(state.value("step").and_then(Node::as_i64), Some(3));
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TreeBuilder {
    nodes: Vec<Node>,
    storages: Vec<Storage>,
}

impl TreeBuilder {
    /// Adds a node. What it holds was added before, so that nothing can contain itself.
    ///
    /// # Errors
    ///
    /// It holds a node or a storage that isn't there yet, or there are too many.
    pub fn node(&mut self, mut node: Node) -> Result<NodeId, Error> {
        let (mut known, nodes, storages) = (true, self.nodes.len(), self.storages.len());
        node.each_id(&mut |id| known &= (id.0 as usize) < nodes);
        known &= node.storage_mut().is_none_or(|id| (id.0 as usize) < storages);
        if !known {
            return Err(Error::usage("a value holds another one that wasn't added before it"));
        }
        let id = u32::try_from(nodes).ok().filter(|id| *id < u32::MAX);
        let id = id.ok_or_else(|| Error::usage("a state holds no more than 2³² values"))?;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    /// Adds a storage. Its key is replaced by its number.
    ///
    /// # Errors
    ///
    /// It is a part of one that isn't there yet, or there are too many.
    pub fn storage(&mut self, storage: Storage) -> Result<StorageId, Error> {
        let count = self.storages.len();
        if storage.part_of.is_some_and(|(whole, _)| whole.0 as usize >= count) {
            return Err(Error::usage("a storage is a part of one that wasn't added before it"));
        }
        let id = u32::try_from(count).ok().filter(|id| *id < u32::MAX);
        let id = id.ok_or_else(|| Error::usage("a state holds no more than 2³² storages"))?;
        self.storages.push(Storage { key: count.to_string(), ..storage });
        Ok(StorageId(id))
    }

    /// Returns the tree.
    ///
    /// # Errors
    ///
    /// There is no such root, or the values exceed a limit of [`Tree::walk`].
    pub fn finish(self, root: NodeId) -> Result<Tree, Error> {
        if root.0 as usize >= self.nodes.len() {
            return Err(Error::usage("the root of a tree must be one of its values"));
        }
        let tree = Tree::new(self.nodes, self.storages, root);
        tree.walk(|_| {}).map_err(|error| Error::usage(format!("the values are too complex: {error}")))?;
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;
    use crate::tensor::{Body, Tensor};

    #[test]
    fn what_was_not_added_before_is_refused() {
        let mut builder = TreeBuilder::default();
        assert!(builder.node(Node::List(vec![NodeId(0)])).is_err(), "a list in itself");
        let tensor = |storage| Node::Tensor(Box::new(Tensor::contiguous(Dtype::U8, vec![2], storage)));
        assert!(builder.node(tensor(StorageId(0))).is_err(), "no such storage");
        let storage = Storage {
            key: "x".into(),
            dtype: Some(Dtype::U8),
            bytes: 2,
            device: "cpu".into(),
            part_of: None,
        };
        let part = Storage { part_of: Some((StorageId(0), 0)), ..storage.clone() };
        assert!(builder.storage(part).is_err());
        let id = builder.storage(storage).unwrap();
        let inner = builder.node(tensor(id)).unwrap();
        let quantized =
            Body::Strided { storage: id, offset: 0, strides: vec![1], quantizer: Some(NodeId(7)) };
        assert!(builder.node(Node::Tensor(Box::new(Tensor::new(Dtype::U8, vec![2], quantized)))).is_err());
        assert!(builder.clone().finish(NodeId(1)).is_err(), "no such root");
        let root = builder.node(Node::List(vec![inner, inner])).unwrap();
        let tree = builder.finish(root).unwrap();
        assert_eq!((tree.len(), tree.storages()[0].key.as_str()), (2, "0"));
    }
}
