use std::sync::Arc;

use super::{Node, NodeId, Storage, StorageId};

/// A checkpoint's contents: values, with the storages that its tensors are views of.
///
/// Nodes are shared where the file shares them. The readers of [`format`](mod@crate::format) hand
/// out only trees without cycles and of bounded depth. A copy costs nothing until one of the two is changed.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Arc<Vec<Node>>,
    storages: Arc<Vec<Storage>>,
    root: NodeId,
}

impl Tree {
    /// Makes a tree of an arena. `root` and every number in `nodes` are meant for these nodes; one that isn't
    /// reads as [`Node::None`].
    pub(crate) fn new(nodes: Vec<Node>, storages: Vec<Storage>, root: NodeId) -> Self {
        Self { nodes: Arc::new(nodes), storages: Arc::new(storages), root }
    }

    /// Adds a node; `None` where there are too many.
    pub(crate) fn push(&mut self, node: Node) -> Option<NodeId> {
        let id = NodeId(u32::try_from(self.nodes.len()).ok().filter(|id| *id < u32::MAX)?);
        Arc::make_mut(&mut self.nodes).push(node);
        Some(id)
    }

    /// Adds a storage; `None` where there are too many.
    pub(crate) fn push_storage(&mut self, storage: Storage) -> Option<StorageId> {
        let id = StorageId(u32::try_from(self.storages.len()).ok().filter(|id| *id < u32::MAX)?);
        Arc::make_mut(&mut self.storages).push(storage);
        Some(id)
    }

    /// Returns a node, to be changed.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        Arc::make_mut(&mut self.nodes).get_mut(id.0 as usize)
    }

    /// Returns the root.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// Returns a node. A number from another tree gives [`Node::None`] or another node.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    /// Returns all nodes, in no order that means anything.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns a storage.
    pub fn storage(&self, id: StorageId) -> Option<&Storage> {
        self.storages.get(id.0 as usize)
    }

    /// Returns all storages, in the order of their first use.
    pub fn storages(&self) -> &[Storage] {
        &self.storages
    }

    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there are no nodes at all.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Looks up a string key in a map.
    pub fn get(&self, map: NodeId, key: &str) -> Option<NodeId> {
        let Node::Map(_, Some(map)) = self.node(map) else { return None };
        let found =
            map.entries.iter().find(|(k, _)| matches!(self.node(*k), Node::Text(text) if **text == *key));
        found.map(|&(_, value)| value)
    }

    /// Returns whether the root is a map.
    pub fn is_map(&self) -> bool {
        matches!(self.node(self.root), Node::Map(..))
    }
}
