//! Leaving values out of a tree.

use super::{ArrayData, Body, Map, Node, NodeId, StorageId, Tree};

impl Node {
    /// Calls back for every number of a node that this one holds, its keys included.
    pub(crate) fn each_id(&mut self, visit: &mut dyn FnMut(&mut NodeId)) {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) | Self::FrozenSet(items) => {
                items.iter_mut().for_each(visit);
            }
            Self::Map(_, Some(map)) => {
                each_entry(&mut map.entries, visit);
                map.attributes.iter_mut().for_each(visit);
            }
            Self::Tensor(tensor) => {
                tensor.attributes.iter_mut().for_each(&mut *visit);
                tensor.body.each_id(visit);
            }
            Self::Array(array) => {
                if let ArrayData::Bytes(id) | ArrayData::Values(id) = &mut array.data {
                    visit(id);
                }
            }
            Self::Object(object) => {
                visit(&mut object.arguments);
                object.state.iter_mut().for_each(&mut *visit);
                object.items.iter_mut().for_each(&mut *visit);
                each_entry(&mut object.entries, visit);
            }
            _ => {}
        }
    }

    /// Returns the number of the storage that this node itself lies in.
    pub(crate) fn storage_mut(&mut self) -> Option<&mut StorageId> {
        match self {
            Self::Storage(id) => Some(id),
            Self::Tensor(tensor) => match &mut tensor.body {
                Body::Strided { storage, .. } => Some(storage),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Body {
    fn each_id(&mut self, visit: &mut dyn FnMut(&mut NodeId)) {
        match self {
            Self::Strided { quantizer, .. } => quantizer.iter_mut().for_each(visit),
            Self::Sparse { parts, .. } => parts.iter_mut().for_each(|(_, part)| visit(part)),
            Self::Nested { buffer, sizes, strides, offsets } => {
                [buffer, sizes, strides, offsets].into_iter().for_each(visit);
            }
            Self::Converted(id) => visit(id),
            Self::Meta => {}
        }
    }
}

fn each_entry(entries: &mut [(NodeId, NodeId)], visit: &mut dyn FnMut(&mut NodeId)) {
    for (key, value) in entries {
        visit(key);
        visit(value);
    }
}

impl Tree {
    /// Makes a tree of what the root still leads to when some values are dropped: entries of maps go, and
    /// items of lists become `None`, so that the others keep their places.
    ///
    /// Returns with it the numbers that its storages had before, in their order.
    pub(crate) fn pruned(&self, dropped: &dyn Fn(NodeId) -> bool) -> (Self, Vec<StorageId>) {
        let mut numbers: Vec<Option<NodeId>> = vec![None; self.len()];
        let mut nodes: Vec<Node> = Vec::new();
        let mut open = vec![self.root()];
        while let Some(id) = open.pop() {
            let Some(number @ None) = numbers.get_mut(id.0 as usize) else { continue };
            *number = Some(NodeId(u32::try_from(nodes.len()).unwrap_or(u32::MAX)));
            let mut node = if dropped(id) { Node::None } else { self.node(id).clone() };
            drop_entries(&mut node, dropped);
            let from = open.len();
            node.each_id(&mut |child| open.push(*child));
            // The first child is to be numbered first.
            open.get_mut(from..).unwrap_or_default().reverse();
            nodes.push(node);
        }
        // A number that led nowhere before leads nowhere afterwards.
        let renumber =
            |id: &mut NodeId| *id = numbers.get(id.0 as usize).copied().flatten().unwrap_or(NodeId(u32::MAX));
        for node in &mut nodes {
            node.each_id(&mut |id| renumber(id));
        }
        let kept = self.renumber_storages(&mut nodes);
        let old = |id: &StorageId| self.storage(*id).cloned();
        let mut storages: Vec<_> = kept.iter().filter_map(old).collect();
        for storage in &mut storages {
            if let Some((whole, _)) = &mut storage.part_of {
                *whole = number_in(&kept, *whole);
            }
        }
        let mut root = self.root();
        renumber(&mut root);
        (Self::new(nodes, storages, root), kept)
    }

    /// Gives the nodes the numbers that their storages have when no others are left. Returns the ones they had.
    fn renumber_storages(&self, nodes: &mut [Node]) -> Vec<StorageId> {
        let mut used: Vec<StorageId> =
            nodes.iter_mut().filter_map(|node| node.storage_mut().copied()).collect();
        let wholes: Vec<_> =
            used.iter().filter_map(|id| self.storage(*id)?.part_of.map(|(whole, _)| whole)).collect();
        used.extend(wholes);
        used.retain(|id| self.storage(*id).is_some());
        used.sort_unstable();
        used.dedup();
        for id in nodes.iter_mut().filter_map(Node::storage_mut) {
            *id = number_in(&used, *id);
        }
        used
    }
}

/// Returns a storage's place among those that are kept, which are sorted.
fn number_in(kept: &[StorageId], id: StorageId) -> StorageId {
    let place = kept.binary_search(&id).ok().and_then(|place| u32::try_from(place).ok());
    StorageId(place.unwrap_or(u32::MAX))
}

/// Takes what is dropped out of a map.
fn drop_entries(node: &mut Node, dropped: &dyn Fn(NodeId) -> bool) {
    match node {
        Node::Map(_, content) => {
            if let Some(map) = content {
                map.entries.retain(|(_, value)| !dropped(*value));
            }
            // An empty map is told in one way only.
            if matches!(content.as_deref(), Some(Map { entries, attributes: None }) if entries.is_empty()) {
                *content = None;
            }
        }
        Node::Object(object) => object.entries.retain(|(_, value)| !dropped(*value)),
        _ => {}
    }
}
