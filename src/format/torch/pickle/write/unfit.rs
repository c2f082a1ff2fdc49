//! All that a tree has and a file can't hold, where [`write`](super::write()) stops at the first.

use super::{fit, fit_tensor};
use crate::tensor::{Node, NodeId, Tree};

/// Returns the values that PyTorch's safe reader has no form for, each with why. Values that nothing leads to
/// are looked at as well.
pub(crate) fn unfit(tree: &Tree) -> Vec<(NodeId, String)> {
    let numbered = (0_u32..).map(NodeId).zip(tree.nodes());
    let check = |(id, node): (NodeId, &Node)| {
        // What a map's keys are is said of the keys.
        let checked = match node {
            Node::Map(..) | Node::Set(_) => Ok(()),
            Node::Tensor(tensor) => fit_tensor::check(tree, tensor),
            other => fit::check(tree, other),
        };
        Some((id, checked.err()?))
    };
    numbered.filter_map(check).collect()
}
