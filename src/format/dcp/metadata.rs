use std::ops::Range;

use crate::Dtype;
use crate::record::TensorInfo;

/// What a metadata file says: what the checkpoint holds, and where it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The tensors, in the order of the state.
    pub tensors: Vec<Tensor>,
    /// The values that are no tensors, in the same order among themselves.
    pub values: Vec<Value>,
    /// The files that items lie in, relative to the directory, in the order of their first use.
    pub shards: Vec<String>,
    /// How many items belong to no tensor and no value.
    pub strays: u64,
    /// The version of the metadata itself.
    pub version: Option<String>,
    /// The id that PyTorch gave to the save.
    pub save_id: Option<String>,
}

/// A tensor, which is saved in one or more chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The name: the keys on the way to it, joined by dots.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The length of each dimension of the whole.
    pub shape: Vec<u64>,
    /// The chunks. Each has as many dimensions as the tensor, and lies within it.
    pub chunks: Vec<Chunk>,
}

/// A box of a tensor's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins, in elements of each dimension.
    pub offsets: Vec<u64>,
    /// Its length in each dimension.
    pub sizes: Vec<u64>,
    /// Where its item lies; none where the metadata names no place.
    pub place: Option<Place>,
}

/// A value that is no tensor: a number, a list, any object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The name, as a tensor's.
    pub name: String,
    /// Where its item lies; none where the metadata names no place.
    pub place: Option<Place>,
}

/// Where an item lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the file in [`Metadata::shards`].
    pub shard: usize,
    /// The bytes in the file.
    pub range: Range<u64>,
    /// What the bytes went through before they were written, such as a compression: PyTorch's extensions, by name.
    pub transforms: Vec<String>,
    /// The id of the proof that the item carries, where ckpt wrote it.
    pub proof: Option<String>,
    /// The digest of the item's bytes, where ckpt wrote somebody's own bytes: `crc64-nvme:…`.
    pub digest: Option<String>,
}

impl Tensor {
    /// Returns what is known of the tensor without its data. A size beyond 64 bits is told as the largest one.
    pub fn info(&self) -> TensorInfo {
        let bytes = TensorInfo::count(&self.shape).and_then(|count| self.dtype.tensor_bytes(count));
        TensorInfo {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            bytes: bytes.unwrap_or(u64::MAX),
        }
    }
}
