use crate::Dtype;

/// The number of a node in its [`Tree`](super::Tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// The number of a storage in its [`Tree`](super::Tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageId(pub(crate) u32);

/// One value of a checkpoint.
///
/// Kept at 32 bytes: a pickle makes a node with as little as one byte, and what is allocated must
/// stay a small multiple of what is there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Node {
    /// Python's `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// A larger integer: two's complement, little-endian.
    BigInt(Box<[u8]>),
    /// A float, bit for bit.
    Float(f64),
    /// A complex number: real part, imaginary part.
    Complex(f64, f64),
    /// A string.
    Text(Box<str>),
    /// A string with lone surrogates: generalised UTF-8, as Python's `surrogatepass` writes it.
    SurrogateText(Box<[u8]>),
    /// `bytes`.
    Bytes(Box<[u8]>),
    /// `bytearray`.
    ByteArray(Box<[u8]>),
    /// A list.
    List(Vec<NodeId>),
    /// A list of nothing but floats, where its reader was asked for such: see
    /// [`ReadOptions`](crate::format::torch::ReadOptions).
    Floats(Vec<f64>),
    /// A tuple.
    Tuple(Vec<NodeId>),
    /// A set.
    Set(Vec<NodeId>),
    /// A frozen set.
    FrozenSet(Vec<NodeId>),
    /// A map; order kept.
    Map(MapKind, Option<Box<Map>>),
    /// A `torch.Size`.
    Size(Vec<i64>),
    /// A `torch.device`, as `str()` gives it.
    Device(Box<str>),
    /// A `torch.dtype`.
    Dtype(Dtype),
    /// A `torch.layout`, as `str()` gives it without the `torch.`.
    Layout(Box<str>),
    /// A `torch.qscheme`, as `str()` gives it without the `torch.`.
    QScheme(Box<str>),
    /// A storage by itself.
    Storage(StorageId),
    /// A tensor.
    Tensor(Box<Tensor>),
    /// A NumPy array or scalar.
    Array(Box<Array>),
    /// A NumPy dtype: byte order, kind and item size (`<f8`).
    ArrayDtype(Box<str>),
    /// A class or function by its name, as a value.
    Global(Box<str>),
    /// What a class outside the known ones would have made. Never made.
    Object(Box<Object>),
}

impl Node {
    /// Why [`Node::Floats`] isn't written.
    pub(crate) const PACKED: &str = "a packed list of floats: load it without packing, and it can be written";

    /// Returns the integer of two's complement little-endian bytes; none are zero.
    ///
    /// ```
    /// use ckpt::tensor::Node;
    /// assert_eq!(Node::integer(&[0xfe, 0xff]), Node::Int(-2));
    /// ```
    pub fn integer(bytes: &[u8]) -> Self {
        let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut significant = bytes;
        // The sign can be told from the byte before: the last one carries nothing.
        while let [rest @ .., last] = significant {
            let redundant = *last == sign && rest.last().is_none_or(|next| (next & 0x80 != 0) == (sign != 0));
            if !redundant || (rest.is_empty() && sign != 0) {
                break;
            }
            significant = rest;
        }
        if significant.len() > 8 {
            return Self::BigInt(significant.into());
        }
        let mut wide = [sign; 8];
        for (slot, byte) in wide.iter_mut().zip(significant) {
            *slot = *byte;
        }
        Self::Int(i64::from_le_bytes(wide))
    }
}

/// The kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// `dict`.
    Dict,
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `collections.Counter`.
    Counter,
}

/// The content of a map that isn't empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    /// Keys and values in order; no key twice.
    pub entries: Vec<(NodeId, NodeId)>,
    /// The instance's own attributes: a module's `state_dict` has `_metadata`.
    pub attributes: Option<NodeId>,
}

/// A value whose class isn't known here, as the pickle describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The class or function.
    pub global: Box<str>,
    /// What it is called with.
    pub arguments: NodeId,
    /// The state that is given to it.
    pub state: Option<NodeId>,
    /// What is appended to it, as to a list.
    pub items: Vec<NodeId>,
    /// What is set in it, as in a map.
    pub entries: Vec<(NodeId, NodeId)>,
}

/// A run of bytes that tensors are views of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The name in the file.
    pub key: String,
    /// The type of its elements; `None` for untyped bytes.
    pub dtype: Option<Dtype>,
    /// The size in bytes.
    pub bytes: u64,
    /// The device it was on when saved: `cpu`, `cuda:0`.
    pub device: String,
    /// Where it is a part of another: that one, and the offset in bytes.
    pub part_of: Option<(StorageId, u64)>,
}

/// A tensor.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent properties that PyTorch stores as such")]
pub struct Tensor {
    /// The type of the elements.
    pub dtype: Dtype,
    /// The length of each dimension.
    pub shape: Vec<u64>,
    /// Whether gradients are kept for it.
    pub requires_grad: bool,
    /// Whether it is a `torch.nn.Parameter`.
    pub parameter: bool,
    /// Whether the elements are to be read as conjugated.
    pub conjugated: bool,
    /// Whether the elements are to be read as negated.
    pub negated: bool,
    /// The instance's own attributes, a map; none for nearly all tensors.
    pub attributes: Option<NodeId>,
    /// Where the elements are.
    pub body: Body,
}

impl Tensor {
    /// Makes a plain tensor: no parameter, without gradients.
    pub fn new(dtype: Dtype, shape: Vec<u64>, body: Body) -> Self {
        Self {
            dtype,
            shape,
            requires_grad: false,
            parameter: false,
            conjugated: false,
            negated: false,
            attributes: None,
            body,
        }
    }

    /// Makes a plain tensor whose elements lie in a storage from its start on: row-major, without gaps.
    pub fn contiguous(dtype: Dtype, shape: Vec<u64>, storage: StorageId) -> Self {
        let mut strides = vec![1_u64; shape.len()];
        let mut stride = 1_u64;
        for (place, length) in strides.iter_mut().zip(&shape).rev() {
            *place = stride;
            stride = stride.saturating_mul((*length).max(1));
        }
        Self::new(dtype, shape, Body::Strided { storage, offset: 0, strides, quantizer: None })
    }
}

/// Where a tensor's elements are.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// In a storage, `offset` elements from its start, `strides` elements apart.
    Strided {
        /// The storage.
        storage: StorageId,
        /// In elements.
        offset: u64,
        /// In elements, one for each dimension.
        strides: Vec<u64>,
        /// The quantizer's parameters, for a quantized tensor.
        quantizer: Option<NodeId>,
    },
    /// In other tensors: `indices` and `values`, or `crow_indices`, `col_indices` and `values`, …
    Sparse {
        /// `sparse_coo`, `sparse_csr`, …
        layout: Box<str>,
        /// The parts by name.
        parts: Vec<(&'static str, NodeId)>,
        /// Whether the indices are sorted and each is there once; `None` where the file doesn't say.
        coalesced: Option<bool>,
    },
    /// In one buffer that holds several tensors of their own shapes.
    Nested {
        /// The buffer, a tensor.
        buffer: NodeId,
        /// The sizes, a tensor.
        sizes: NodeId,
        /// The strides, a tensor.
        strides: NodeId,
        /// The offsets, a tensor.
        offsets: NodeId,
    },
    /// In a NumPy array, or in another tensor that is to be converted.
    Converted(NodeId),
    /// Nowhere: a tensor on the meta device, or a wrapper around others.
    Meta,
}

/// A NumPy array or scalar.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Byte order, kind and item size: `<f8`.
    pub dtype: Box<str>,
    /// The length of each dimension.
    pub shape: Vec<u64>,
    /// Whether the first index changes fastest.
    pub fortran: bool,
    /// Whether it is a scalar and no array.
    pub scalar: bool,
    /// The elements.
    pub data: ArrayData,
}

/// The elements of a NumPy array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayData {
    /// None yet.
    Missing,
    /// A node of bytes.
    Bytes(NodeId),
    /// A node that is a list of values, or one value: dtype `object`.
    Values(NodeId),
}
