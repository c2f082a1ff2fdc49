use super::refusal::Refusal;
use super::storages::Storages;
use super::{fit, fit_tensor};
use crate::tensor::{Body, Node, NodeId, Tensor, Tree};

/// What is known of a tree before it is written.
#[derive(Debug)]
pub(super) struct Survey {
    /// For each node, whether more than one place refers to it.
    shared: Vec<bool>,
    /// The storages that are used.
    pub(super) storages: Storages,
    /// How many entries all maps and sets have together, each counted once.
    pub(super) entries: usize,
}

/// How far a node is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    New,
    Open,
    Done,
}

/// A step of the way through the tree.
enum Step {
    Enter(NodeId),
    Leave(NodeId),
}

impl Survey {
    /// Visits every node that the root leads to once, in the order in which they are written.
    ///
    /// # Errors
    ///
    /// The first thing that can't be written.
    pub(super) fn of(tree: &Tree) -> Result<Self, Refusal> {
        let mut survey = Self { shared: vec![false; tree.len()], storages: Storages::default(), entries: 0 };
        let mut progress = vec![Progress::New; tree.len()];
        let mut open = Vec::new();
        let mut todo = vec![Step::Enter(tree.root())];
        while let Some(step) = todo.pop() {
            let id = match step {
                Step::Enter(id) => id,
                Step::Leave(id) => {
                    set(&mut progress, id, Progress::Done);
                    open.pop();
                    continue;
                }
            };
            match progress.get(id.0 as usize) {
                Some(Progress::New) => {}
                // A number without a node reads as `None`.
                None => continue,
                Some(Progress::Done) => {
                    set(&mut survey.shared, id, true);
                    continue;
                }
                Some(Progress::Open) => return Err(Refusal::at(open, "it contains itself")),
            }
            open.push(id);
            survey.visit(tree, id, &open).map_err(|why| Refusal::at(open.clone(), why))?;
            set(&mut progress, id, Progress::Open);
            todo.push(Step::Leave(id));
            todo.extend(children(tree.node(id)).into_iter().rev().map(Step::Enter));
        }
        survey.storages.settle(tree)?;
        Ok(survey)
    }

    /// Returns whether more than one place refers to a node.
    pub(super) fn is_shared(&self, id: NodeId) -> bool {
        self.shared.get(id.0 as usize).copied().unwrap_or(false)
    }

    /// Looks at one node; `open` are those around it, itself included.
    fn visit(&mut self, tree: &Tree, id: NodeId, open: &[NodeId]) -> Result<(), String> {
        let node = tree.node(id);
        fit::check(tree, node)?;
        match node {
            Node::Map(_, Some(map)) => self.entries += map.entries.len(),
            Node::Set(items) => self.entries += items.len(),
            Node::Storage(storage) => self.storages.use_alone(tree, *storage, open)?,
            Node::Tensor(tensor) => {
                fit_tensor::check(tree, tensor)?;
                if let Body::Strided { storage, quantizer, .. } = &tensor.body
                    && !fit_tensor::is_meta(tree, *storage)
                {
                    self.storages.use_in(tree, *storage, tensor.dtype, quantizer.is_some(), open)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Sets what is kept of a node.
fn set<T>(all: &mut [T], id: NodeId, value: T) {
    if let Some(slot) = all.get_mut(id.0 as usize) {
        *slot = value;
    }
}

/// Returns the values that a value refers to, in the order in which they are written.
fn children(node: &Node) -> Vec<NodeId> {
    match node {
        Node::List(items) | Node::Tuple(items) | Node::Set(items) => items.clone(),
        Node::Map(_, Some(map)) => {
            let entries = map.entries.iter().flat_map(|&(key, value)| [key, value]);
            entries.chain(map.attributes).collect()
        }
        Node::Tensor(tensor) => tensor_children(tensor),
        _ => Vec::new(),
    }
}

/// Returns the values that a tensor is made of, and its attributes.
fn tensor_children(tensor: &Tensor) -> Vec<NodeId> {
    let parts = match &tensor.body {
        Body::Strided { quantizer, .. } => quantizer.iter().copied().collect(),
        Body::Sparse { parts, .. } => parts.iter().map(|&(_, part)| part).collect(),
        Body::Nested { buffer, sizes, strides, offsets } => vec![*buffer, *sizes, *strides, *offsets],
        Body::Converted(source) => vec![*source],
        Body::Meta => Vec::new(),
    };
    parts.into_iter().chain(tensor.attributes).collect()
}
