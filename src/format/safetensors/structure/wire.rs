//! The structure's JSON as types; the room's page says what the fields mean.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Dtype;
use crate::format::json::Word;

/// A storage.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StorageText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tensor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part_of: Option<(u32, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dtype: Option<Dtype>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) untyped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
}

/// A value.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Text(Box<str>),
    Tagged(Tagged),
}

/// A value that is an object of one field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tagged {
    Integer(Base64),
    Float(Bits),
    Complex(Bits, Bits),
    Surrogates(Base64),
    Bytes(Base64),
    Bytearray(Base64),
    List(Vec<u32>),
    Tuple(Vec<u32>),
    Set(Vec<u32>),
    Frozenset(Vec<u32>),
    Dict(MapText),
    OrderedDict(MapText),
    Counter(MapText),
    Size(Vec<i64>),
    Device(Box<str>),
    Dtype(Dtype),
    Layout(Box<str>),
    Qscheme(Box<str>),
    Storage(u32),
    Tensor(Box<TensorText>),
    Array(Box<ArrayText>),
    ArrayDtype(Box<str>),
    Global(Box<str>),
    Object(Box<ObjectText>),
}

/// A map's content.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MapText {
    pub(super) entries: Vec<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attributes: Option<u32>,
}

/// A tensor.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the tensor itself has them")]
pub(super) struct TensorText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dtype: Option<Dtype>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shape: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) requires_grad: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) parameter: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) conjugated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) negated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attributes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) storage: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strides: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantizer: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sparse: Option<SparseText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nested: Option<[u32; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) converted: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The body of a sparse tensor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SparseText {
    pub(super) layout: Box<str>,
    pub(super) parts: Vec<(String, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) coalesced: Option<bool>,
}

/// A NumPy array.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArrayText {
    pub(super) dtype: Box<str>,
    pub(super) shape: Vec<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) fortran: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) scalar: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<u32>,
}

/// What describes an object.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectText {
    pub(super) global: Box<str>,
    pub(super) arguments: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) items: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) entries: Vec<(u32, u32)>,
}

/// Bytes as base64.
#[derive(Debug)]
pub(super) struct Base64(pub(super) Box<[u8]>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Word::deserialize(deserializer)?;
        let bytes = STANDARD.decode(word.0.as_bytes());
        bytes.map(|bytes| Self(bytes.into())).map_err(|_| D::Error::custom("a byte string is no base64"))
    }
}

/// A float's bits as 16 hexadecimal digits.
#[derive(Debug)]
pub(super) struct Bits(pub(super) f64);

impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0.to_bits()))
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = Word::deserialize(deserializer)?.0;
        let are_digits = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = if are_digits { u64::from_str_radix(&digits, 16).ok() } else { None };
        bits.map(|bits| Self(f64::from_bits(bits)))
            .ok_or_else(|| D::Error::custom("a float isn't written as 16 hexadecimal digits"))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        let value = i64::try_from(value);
        value.map(Value::Int).map_err(|_| E::custom("an integer has more than 64 bits"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        Tagged::deserialize(MapAccessDeserializer::new(map)).map(Value::Tagged)
    }
}
