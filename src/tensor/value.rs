use super::{Node, TensorView};

/// A value on its way into a [`State`](super::State).
///
/// ```
/// use ckpt::tensor::Value;
/// let betas = Value::Tuple(vec![0.9.into(), 0.999.into()]);
/// let optimizer = Value::Map(vec![("betas".into(), betas), (0.into(), true.into())]);
/// assert!(matches!(optimizer, Value::Map(entries) if entries.len() == 2));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Python's `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer of any size: two's complement, little-endian, with as many bytes as one likes.
    BigInt(Vec<u8>),
    /// A float, bit for bit.
    Float(f64),
    /// A string.
    Text(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A `dict`, in its order; keys are plain values or tuples of them, and none is there twice.
    Map(Vec<(Self, Self)>),
    /// A tensor.
    Tensor(TensorView<'a>),
}

macro_rules! from {
    ($($type:ty => $variant:ident,)+) => {$(
        impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

from! {
    bool => Bool,
    i8 => Int,
    i16 => Int,
    i32 => Int,
    i64 => Int,
    u8 => Int,
    u16 => Int,
    u32 => Int,
    f32 => Float,
    f64 => Float,
    &str => Text,
    String => Text,
    Vec<u8> => Bytes,
}

impl From<i128> for Value<'_> {
    fn from(value: i128) -> Self {
        i64::try_from(value).map_or_else(|_| Self::BigInt(value.to_le_bytes().to_vec()), Self::Int)
    }
}

impl From<u128> for Value<'_> {
    fn from(value: u128) -> Self {
        // One byte more, for the sign.
        let wide = || Self::BigInt([&value.to_le_bytes()[..], &[0]].concat());
        i64::try_from(value).map_or_else(|_| wide(), Self::Int)
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        u128::from(value).into()
    }
}

impl<'a> From<TensorView<'a>> for Value<'a> {
    fn from(tensor: TensorView<'a>) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<Vec<Self>> for Value<'_> {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

impl<K: Into<Self>> FromIterator<(K, Self)> for Value<'_> {
    /// Makes a map.
    fn from_iter<I: IntoIterator<Item = (K, Self)>>(entries: I) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl Node {
    /// Returns the integer that this is; `None` for anything else, a truth value included.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// Returns the integer that this is; `None` for anything else, and for one that doesn't fit.
    pub fn as_i128(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some((*value).into()),
            Self::BigInt(bytes) => {
                let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
                let mut wide = [sign; 16];
                wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
                Some(i128::from_le_bytes(wide))
            }
            _ => None,
        }
    }

    /// As [`Node::as_i128`], for integers that aren't negative.
    pub fn as_u128(&self) -> Option<u128> {
        match self {
            // The seventeenth byte is the sign, and no more.
            Self::BigInt(bytes) if bytes.len() == 17 => {
                let (sign, wide) = bytes.split_last()?;
                Some(u128::from_le_bytes(wide.try_into().ok()?)).filter(|_| *sign == 0)
            }
            _ => u128::try_from(self.as_i128()?).ok(),
        }
    }

    /// Returns the float that this is; `None` for anything else: an integer is none.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    /// Returns the truth value that this is.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// Returns the string that this is.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}
