//! The tree of a file without a structure.

use crate::record::TensorInfo;
use crate::tensor::{Body, Map, MapKind, Node, NodeId, Storage, StorageId, Tensor};

/// Returns the nodes, the root last, and the storages of a flat dict: each tensor with its name, with a
/// storage of its own, in the given order.
pub(in crate::format::safetensors) fn flat<'a>(
    tensors: impl Iterator<Item = &'a TensorInfo>,
) -> (Vec<Node>, Vec<Storage>) {
    let (mut nodes, mut storages, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for info in tensors {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let storage = StorageId(number(storages.len()));
        entries.push((NodeId(number(nodes.len())), NodeId(number(nodes.len() + 1))));
        nodes.push(Node::Text(info.name.as_str().into()));
        nodes.push(Node::Tensor(Box::new(plain(info, storage))));
        storages.push(Storage {
            key: info.name.clone(),
            dtype: Some(info.dtype),
            bytes: info.bytes,
            device: "cpu".to_owned(),
            part_of: None,
        });
    }
    let map = (!entries.is_empty()).then(|| Box::new(Map { entries, attributes: None }));
    nodes.push(Node::Map(MapKind::Dict, map));
    (nodes, storages)
}

/// A tensor that is all of its storage.
fn plain(info: &TensorInfo, storage: StorageId) -> Tensor {
    let strides = row_major(&info.shape);
    Tensor {
        dtype: info.dtype,
        shape: info.shape.clone(),
        requires_grad: false,
        parameter: false,
        conjugated: false,
        negated: false,
        attributes: None,
        body: Body::Strided { storage, offset: 0, strides, quantizer: None },
    }
}

/// Returns the strides of a row-major tensor without gaps, in elements, as PyTorch counts them: a length of 0
/// counts like 1.
pub(in crate::format::safetensors) fn row_major(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1_u64;
    for (stride, length) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul((*length).max(1));
    }
    strides
}
