//! The values of a state by the keys that lead to them.

use std::collections::HashMap;

use crate::Error;
use crate::tensor::{Body, Node, NodeId, State, TensorRef};

/// A value that is compared by itself.
pub(super) enum Item<'s> {
    /// A tensor.
    Tensor(TensorRef<'s>),
    /// Any other. What a list holds stands by itself.
    Plain(NodeId),
    /// Any other, with all that it holds.
    Whole(NodeId),
}

/// A value, the keys that lead to it, and how many before it have the same: keys may have dots themselves.
pub(super) type Key = (String, usize);

/// Lists what a state holds: tensors, those that they are made of, and plain values.
///
/// A map is told by what it holds: nesting and dots in names are the same, so that a file that has no nesting
/// can be compared with one that has. An empty container is a value.
pub(super) fn items<'s>(state: &'s State<'_>) -> Result<Vec<(Key, Item<'s>)>, Error> {
    let mut tensors = state.tensors()?.into_iter();
    let mut items: Vec<(String, Item<'s>)> = Vec::new();
    let walked = state.tree().walk(|leaf| match leaf.node {
        Node::Tensor(_) => {
            if let Some(tensor) = tensors.next() {
                add(&mut items, leaf.path.to_owned(), tensor, leaf.id);
            }
        }
        node if !is_map(node) => items.push((leaf.path.to_owned(), Item::Plain(leaf.id))),
        _ => {}
    });
    walked.map_err(|error| Error::usage(format!("the values are too complex: {error}")))?;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let number = |(path, item): (String, Item<'s>)| {
        let before = seen.entry(path.clone()).or_default();
        let key = (path, *before);
        *before += 1;
        (key, item)
    };
    Ok(items.into_iter().map(number).collect())
}

/// Adds a tensor; one that is made of others by those.
fn add<'s>(items: &mut Vec<(String, Item<'s>)>, path: String, tensor: TensorRef<'s>, id: NodeId) {
    match &tensor.tensor().body {
        Body::Strided { quantizer, .. } => {
            let quantizer = quantizer.map(|id| (format!("{path}.(quantizer)"), Item::Whole(id)));
            items.push((path, Item::Tensor(tensor)));
            items.extend(quantizer);
        }
        Body::Sparse { .. } | Body::Nested { .. } => {
            let parts = tensor.parts();
            items.push((path.clone(), Item::Whole(id)));
            for part in parts {
                items.push((format!("{path}.{}", part.name()), Item::Tensor(part)));
            }
        }
        Body::Converted(_) | Body::Meta => items.push((path, Item::Whole(id))),
    }
}

/// Returns whether a value is a map with something in it.
fn is_map(node: &Node) -> bool {
    matches!(node, Node::Map(_, Some(map)) if !map.entries.is_empty())
}
