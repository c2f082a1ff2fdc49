//! What libtorch's C++ reader takes.
//!
//! Source: `_load_parameters` in `torch/csrc/jit/mobile/import_data.cpp` and the C++ `Unpickler` of PyTorch
//! 2.13: a plain dict whose keys are text and whose values are strided tensors of the types that have a
//! storage class.

use crate::Dtype;
use crate::Error;
use crate::format::torch::pickle::write::{Planned, Refusal};
use crate::tensor::{Body, MapKind, Node, NodeId, Tensor, Tree};

/// Refuses a tree that isn't a plain dict of tensors: by the first value that doesn't fit.
pub(super) fn check(tree: &Tree) -> Result<(), Error> {
    let root = tree.root();
    let refuse = |places: Vec<NodeId>, why: &str| {
        let why = format!("libtorch's loadz_multi takes only a plain dict of tensors, and {why}");
        Err(Refusal::at(places, why).error(tree))
    };
    let Node::Map(MapKind::Dict, map) = tree.node(root) else {
        return refuse(vec![root], "this is none");
    };
    for &(key, value) in map.iter().flat_map(|map| &map.entries) {
        if !matches!(tree.node(key), Node::Text(_)) {
            return refuse(vec![root, key], "this key is no text");
        }
        let Node::Tensor(tensor) = tree.node(value) else {
            return refuse(vec![root, value], "this is none");
        };
        if let Err(why) = check_tensor(tree, tensor) {
            return refuse(vec![root, value], why);
        }
    }
    Ok(())
}

/// Refuses a tensor that isn't plainly strided.
pub(crate) fn check_tensor(tree: &Tree, tensor: &Tensor) -> Result<(), &'static str> {
    let Body::Strided { storage, quantizer: None, .. } = &tensor.body else {
        return Err("this one isn't plainly strided");
    };
    if tree.storage(*storage).is_some_and(|storage| storage.device == "meta") {
        return Err("this one has no elements");
    }
    if tensor.attributes.is_some() {
        return Err("this one has attributes");
    }
    if !is_taken(tensor.dtype) {
        return Err("it has no tensors of this one's type");
    }
    Ok(())
}

/// Returns whether the C++ reader has storages of a type.
fn is_taken(dtype: Dtype) -> bool {
    use Dtype::{Bf16, Bool, C64, C128, F16, F32, F64, I8, I16, I32, I64, U8};
    matches!(dtype, F64 | F32 | F16 | Bf16 | I64 | I32 | I16 | I8 | U8 | Bool | C64 | C128)
}

/// Refuses storages that tensors of several types share: only an untyped one could be that.
pub(super) fn check_storages(storages: &[Planned]) -> Result<(), Error> {
    match storages.iter().position(|storage| storage.class.is_none()) {
        None => Ok(()),
        Some(number) => Err(Error::usage(format!(
            "the state can't be written for libtorch's loadz_multi: storage {number} holds tensors of several types"
        ))),
    }
}
