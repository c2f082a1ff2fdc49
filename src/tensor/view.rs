use std::borrow::Cow;
use std::fmt;

use super::gather::gather;
use super::{Body, Data, Node, Source, State, StorageId, Tensor};
use crate::{Dtype, Error};

/// A view may come out this many times as large as its storage; expanded ones can claim any size.
const MAX_EXPANSION: u64 = 64;
/// What a view may come out at whatever its storage has, in bytes.
const FREE_BYTES: u64 = 1 << 30;

/// A tensor on its way into a [`State`]: its elements, little-endian and row-major, without gaps.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
    pub(super) data: Data<'a>,
}

impl<'a> TensorView<'a> {
    /// Takes the bytes of a tensor: borrowed (`&[u8]`), owned (`Vec<u8>`), or any [`Data`].
    ///
    /// ```
    /// use ckpt::Dtype;
    /// use ckpt::tensor::TensorView;
    /// let weight: Vec<u8> = [1_f32, 2.0].into_iter().flat_map(f32::to_le_bytes).collect();
    /// let view = TensorView::new(Dtype::F32, [2], weight.as_slice())?;
    /// assert!(TensorView::new(Dtype::F32, [3], weight.as_slice()).is_err());
    /// # Ok::<(), ckpt::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// There aren't as many bytes as dtype and shape ask for.
    pub fn new(dtype: Dtype, shape: impl Into<Vec<u64>>, bytes: impl Into<Data<'a>>) -> Result<Self, Error> {
        let (shape, data) = (shape.into(), bytes.into());
        let wanted = Tensor::contiguous(dtype, shape.clone(), StorageId(0)).len_bytes();
        if wanted == Some(data.len()) {
            return Ok(Self { dtype, shape, data });
        }
        let wanted = wanted.map_or_else(|| "an impossible number of".to_owned(), |bytes| bytes.to_string());
        Err(Error::usage(format!(
            "a tensor of dtype {dtype} and shape {shape:?} has {wanted} bytes, and {} were given",
            data.len()
        )))
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the length of each dimension.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Returns the bytes.
    pub fn data(&self) -> &Data<'a> {
        &self.data
    }
}

/// A tensor of a [`State`].
#[derive(Clone)]
pub struct TensorRef<'s> {
    name: String,
    tensor: &'s Tensor,
    state: &'s State<'s>,
}

impl<'s> TensorRef<'s> {
    pub(crate) fn new(name: impl Into<String>, tensor: &'s Tensor, state: &'s State<'s>) -> Self {
        Self { name: name.into(), tensor, state }
    }

    /// Returns the name: the keys on the way to it, joined by dots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.tensor.dtype
    }

    /// Returns the length of each dimension.
    pub fn shape(&self) -> &'s [u64] {
        &self.tensor.shape
    }

    /// Returns all that is known of the tensor.
    pub fn tensor(&self) -> &'s Tensor {
        self.tensor
    }

    /// Returns the size of the elements, row-major and without gaps, in bytes. A size beyond 64 bits, which
    /// an expanded tensor can have, is told as the largest one.
    pub fn len_bytes(&self) -> u64 {
        self.tensor.len_bytes().unwrap_or(u64::MAX)
    }

    /// Returns the elements: little-endian and row-major, without gaps. Borrowed where they lie in memory like
    /// that; read or gathered otherwise.
    ///
    /// # Errors
    ///
    /// The bytes of a state that is read lazily can't be had, or are damaged; or the tensor has no elements of
    /// its own: it is sparse, nested, converted from an array, or on the meta device.
    pub fn bytes(&self) -> Result<Cow<'s, [u8]>, Error> {
        let Body::Strided { storage, .. } = &self.tensor.body else { return Err(self.without_elements()) };
        let data = self.state.data(*storage).ok_or_else(|| self.beyond())?;
        let bytes = self.tensor.len_bytes().ok_or_else(|| self.beyond())?;
        if bytes == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        if bytes > data.len().saturating_mul(MAX_EXPANSION).max(FREE_BYTES) || data.is_empty() {
            return Err(self.beyond());
        }
        match (data.bytes()?, self.tensor.contiguous_start()) {
            (Some(whole), Some(start)) => {
                part(whole, start, bytes).map(Cow::Borrowed).ok_or_else(|| self.beyond())
            }
            (Some(whole), None) => gather(whole, self.tensor).map(Cow::Owned).ok_or_else(|| self.beyond()),
            (None, Some(start)) => {
                let mut out = self.room(bytes)?;
                data.read_at(&mut out, start)?;
                Ok(Cow::Owned(out))
            }
            (None, None) => {
                let mut whole = self.room(data.len())?;
                data.read_at(&mut whole, 0)?;
                gather(&whole, self.tensor).map(Cow::Owned).ok_or_else(|| self.beyond())
            }
        }
    }

    /// Reserves memory, so that too little of it is an error.
    fn room(&self, bytes: u64) -> Result<Vec<u8>, Error> {
        let too_large =
            || Error::usage(format!("tensor '{}': there is no memory for {bytes} bytes", self.name));
        let len = usize::try_from(bytes).map_err(|_| too_large())?;
        let mut room = Vec::new();
        room.try_reserve_exact(len).map_err(|_| too_large())?;
        room.resize(len, 0);
        Ok(room)
    }

    fn beyond(&self) -> Error {
        Error::usage(format!(
            "tensor '{}' reaches beyond the bytes of its storage, or is many times as large as they are",
            self.name.escape_debug()
        ))
    }

    /// Says where the elements are instead.
    fn without_elements(&self) -> Error {
        let what = match &self.tensor.body {
            Body::Sparse { layout, .. } => format!("is {layout}: its elements are in its parts"),
            Body::Nested { .. } => "is nested: its elements are in its buffer".to_owned(),
            Body::Converted(_) => "is made of an array: its elements are there".to_owned(),
            Body::Strided { .. } | Body::Meta => "is on the meta device, and has no elements".to_owned(),
        };
        Error::usage(format!("tensor '{}' {what}", self.name.escape_debug()))
    }

    /// Returns the tensors that this one is made of, with their names: `indices` and `values` of a sparse one,
    /// `buffer`, `sizes`, `strides` and `offsets` of a nested one. None for any other.
    pub fn parts(&self) -> Vec<Self> {
        let parts = match &self.tensor.body {
            Body::Sparse { parts, .. } => parts.clone(),
            Body::Nested { buffer, sizes, strides, offsets } => {
                vec![("buffer", *buffer), ("sizes", *sizes), ("strides", *strides), ("offsets", *offsets)]
            }
            _ => Vec::new(),
        };
        let part = |(name, id)| match self.state.tree().node(id) {
            Node::Tensor(tensor) => Some(Self::new(name, tensor, self.state)),
            _ => None,
        };
        parts.into_iter().filter_map(part).collect()
    }
}

impl fmt::Debug for TensorRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorRef({} {}{:?})", self.name.escape_debug(), self.tensor.dtype, self.tensor.shape)
    }
}

/// Returns a part of a storage's bytes.
fn part(whole: &[u8], start: u64, bytes: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    whole.get(start..start.checked_add(usize::try_from(bytes).ok()?)?)
}
