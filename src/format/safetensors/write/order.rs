//! The values in the order in which a structure has them: what is referred to comes first.
//!
//! Only what the root leads to is there. Equal states give equal files, whatever else was read beside them.

use super::super::structure::MAX_DEPTH;
use crate::Error;
use crate::tensor::{ArrayData, Body, Node, NodeId, Storage, StorageId, Tree};

/// The values of a tree, and the storages in the order of their first use; both with numbers of their own.
#[derive(Debug)]
pub(super) struct Ordered {
    /// Each node refers only to nodes before it; the root is the last.
    pub(super) nodes: Vec<Node>,
    /// A part stands behind the storage that it is a part of.
    pub(super) storages: Vec<Storage>,
    /// What number each storage has in the state.
    pub(super) origins: Vec<StorageId>,
}

/// A node whose contents are being ordered.
struct Frame {
    old: NodeId,
    node: Node,
    contents: Vec<NodeId>,
    next: usize,
}

/// Where a node is on its way.
#[derive(Clone, Copy)]
enum Place {
    Unseen,
    Open,
    At(NodeId),
}

/// Orders a tree.
///
/// # Errors
///
/// A value contains itself, values are nested too deeply, or a number is that of no value or storage.
pub(super) fn order(tree: &Tree) -> Result<Ordered, Error> {
    let mut places = vec![Place::Unseen; tree.len()];
    let mut storages = Storages { tree, numbers: vec![None; tree.storages().len()], found: Vec::new() };
    let mut nodes = Vec::new();
    let mut frames = vec![enter(tree, tree.root(), &mut places)?];
    while let Some(frame) = frames.last_mut() {
        if let Some(&id) = frame.contents.get(frame.next) {
            frame.next += 1;
            match places.get(id.0 as usize) {
                Some(Place::At(_)) => {}
                Some(Place::Open) => {
                    return Err(Error::usage("the state can't be saved: a value contains itself"));
                }
                _ if frames.len() > MAX_DEPTH => {
                    return Err(Error::usage(format!(
                        "the state can't be saved: values are nested more than {MAX_DEPTH} deep"
                    )));
                }
                _ => frames.push(enter(tree, id, &mut places)?),
            }
            continue;
        }
        let Some(mut done) = frames.pop() else { break };
        references(&mut done.node, &mut |id| {
            if let Some(Place::At(new)) = places.get(id.0 as usize) {
                *id = *new;
            }
        });
        storages.renumber(&mut done.node)?;
        let number = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        nodes.push(done.node);
        if let Some(place) = places.get_mut(done.old.0 as usize) {
            *place = Place::At(NodeId(number));
        }
    }
    let (found, origins) = storages.found.into_iter().unzip();
    Ok(Ordered { nodes, storages: found, origins })
}

/// Begins with a node.
fn enter(tree: &Tree, old: NodeId, places: &mut [Place]) -> Result<Frame, Error> {
    let Some(place) = places.get_mut(old.0 as usize) else {
        return Err(Error::usage("the state can't be saved: it refers to a value that it doesn't have"));
    };
    *place = Place::Open;
    let mut node = tree.node(old).clone();
    let mut contents = Vec::new();
    references(&mut node, &mut |id| contents.push(*id));
    Ok(Frame { old, node, contents, next: 0 })
}

/// The storages that were met.
struct Storages<'t> {
    tree: &'t Tree,
    numbers: Vec<Option<StorageId>>,
    found: Vec<(Storage, StorageId)>,
}

impl Storages<'_> {
    /// Gives a node its storage's new number.
    fn renumber(&mut self, node: &mut Node) -> Result<(), Error> {
        match node {
            Node::Storage(id) => *id = self.number(*id)?,
            Node::Tensor(tensor) => {
                if let Body::Strided { storage, .. } = &mut tensor.body {
                    *storage = self.number(*storage)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns a storage's new number; what it is a part of gets one before it.
    fn number(&mut self, old: StorageId) -> Result<StorageId, Error> {
        let mut chain = vec![old];
        while let Some(&last) = chain.last() {
            if self.numbers.get(last.0 as usize).is_some_and(Option::is_some) {
                break;
            }
            match self.tree.storage(last).map(|storage| storage.part_of) {
                None => return Err(Error::usage("the state can't be saved: a tensor has no storage")),
                Some(None) => break,
                Some(Some(_)) if chain.len() > self.numbers.len() => {
                    return Err(Error::usage("the state can't be saved: a storage is a part of itself"));
                }
                Some(Some((whole, _))) => chain.push(whole),
            }
        }
        let mut number = None;
        for id in chain.into_iter().rev() {
            number = Some(self.add(id, number)?);
        }
        number.ok_or_else(|| Error::usage("the state can't be saved: a tensor has no storage"))
    }

    /// Gives one storage a number, unless it has one. `whole` is the number of what it is a part of.
    fn add(&mut self, old: StorageId, whole: Option<StorageId>) -> Result<StorageId, Error> {
        let (Some(slot), Some(storage)) = (self.numbers.get_mut(old.0 as usize), self.tree.storage(old))
        else {
            return Err(Error::usage("the state can't be saved: a tensor has no storage"));
        };
        if let Some(number) = *slot {
            return Ok(number);
        }
        let number = StorageId(u32::try_from(self.found.len()).unwrap_or(u32::MAX));
        *slot = Some(number);
        let part_of = storage.part_of.and_then(|(_, offset)| Some((whole?, offset)));
        self.found.push((Storage { part_of, ..storage.clone() }, old));
        Ok(number)
    }
}

/// Visits every number of a node that a node has, in order.
fn references(node: &mut Node, visit: &mut dyn FnMut(&mut NodeId)) {
    match node {
        Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
            items.iter_mut().for_each(visit);
        }
        Node::Map(_, Some(map)) => {
            pairs(&mut map.entries, visit);
            map.attributes.iter_mut().for_each(visit);
        }
        Node::Tensor(tensor) => {
            tensor.attributes.iter_mut().for_each(&mut *visit);
            body(&mut tensor.body, visit);
        }
        Node::Array(array) => match &mut array.data {
            ArrayData::Missing => {}
            ArrayData::Bytes(id) | ArrayData::Values(id) => visit(id),
        },
        Node::Object(object) => {
            visit(&mut object.arguments);
            object.state.iter_mut().for_each(&mut *visit);
            object.items.iter_mut().for_each(&mut *visit);
            pairs(&mut object.entries, visit);
        }
        _ => {}
    }
}

fn pairs(entries: &mut [(NodeId, NodeId)], visit: &mut dyn FnMut(&mut NodeId)) {
    for (key, value) in entries {
        visit(key);
        visit(value);
    }
}

fn body(body: &mut Body, visit: &mut dyn FnMut(&mut NodeId)) {
    match body {
        Body::Strided { quantizer, .. } => quantizer.iter_mut().for_each(visit),
        Body::Sparse { parts, .. } => parts.iter_mut().for_each(|(_, part)| visit(part)),
        Body::Nested { buffer, sizes, strides, offsets } => {
            [buffer, sizes, strides, offsets].into_iter().for_each(visit);
        }
        Body::Converted(source) => visit(source),
        Body::Meta => {}
    }
}
