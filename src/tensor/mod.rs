//! Tensors, and the values around them, as data.
//!
//! A checkpoint is a tree of maps, lists and plain values with tensors in it. It comes from files
//! that nobody vouches for, so a [`Tree`] holds its nodes in one arena and refers to them by number:
//! sharing costs nothing, and neither cycles nor deep nesting can exhaust the stack when it is
//! walked, compared or dropped.

mod adapter;
mod build;
mod device;
mod find;
mod gather;
mod layout;
mod node;
mod plain;
mod prune;
mod restore;
mod same;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod view;
mod walk;

pub use adapter::TensorSource;
pub use build::TreeBuilder;
pub(crate) use device::Filled;
pub use device::{Allocator, Device, DeviceCopy, HostMemory};
pub(crate) use gather::{gather, gather_into, swap, swap_width};
pub use layout::{LayoutError, extent};
pub use node::{Array, ArrayData, Body, Map, MapKind, Node, NodeId, Object, Storage, StorageId, Tensor};
pub use plain::to_value;
pub use restore::{Matched, RestoreOptions, Restored, Wanted, match_tensors};
pub use same::Difference;
pub use source::{Data, Source};
pub use state::State;
pub use tree::Tree;
pub use value::Value;
pub use view::{TensorRef, TensorView};
pub use walk::{Leaf, WalkError};
