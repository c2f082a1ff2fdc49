//! The metadata of a `torch.distributed.checkpoint` directory (DCP).
//!
//! Source: `torch/distributed/checkpoint/{metadata,filesystem,planner_helpers}.py` of PyTorch 2.13. A directory
//! holds, for `n` files of rank `r`:
//!
//! | file | content |
//! |---|---|
//! | `__r_n.distcp` | items one behind another, each a complete archive as `torch.save` writes it |
//! | `.metadata` | a pickle (protocol 4) that says what the items are, written last |
//! | `.metadata.tmp` | the same, of a save that ended before the renaming |
//! | `__r.metadata` | instead of `.metadata`, where each rank saved for itself (`use_collectives=False`) |
//!
//! The pickle is an object `Metadata`:
//!
//! | field | content |
//! |---|---|
//! | `state_dict_metadata` | by name: `TensorStorageMetadata` (dtype, global `size`, `chunks` with `offsets` and `sizes`), or `BytesStorageMetadata` for any other value |
//! | `storage_data` | by `MetadataIndex` (name, and offsets of the chunk): `_StorageInfo` (`relative_path`, `offset`, `length`; where ckpt wrote the item `ckpt_proof` or `ckpt_digest`, which PyTorch passes over) |
//! | `storage_meta` | the id of the save |
//! | `planner_data` | where each name came from; not read |
//! | `version` | `1.0.0`; older versions of PyTorch write none |
//!
//! [`read_metadata`] joins the two maps: each chunk and each value with its place. What the pickle says
//! isn't believed: it is read by the reader that executes nothing, every name in it is one of a list
//! (`names`), and no file outside of the directory can be named.

mod cover;
mod describe;
mod metadata;
mod names;
mod read;
#[cfg(test)]
mod tests;

pub use cover::{Cover, MAX_COMPARED, cover};
pub use metadata::{Chunk, Metadata, Place, Tensor, Value};
pub use names::{METADATA, Role, looks_like_metadata};
pub use read::read_metadata;
