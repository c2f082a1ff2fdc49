use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::header::{LENGTH_BYTES, Tensor};
use crate::Dtype;
use crate::format::Flaw;
use crate::format::json::{self, Fault, Number, Skip, Word};
use crate::record::{Code, Finding, Level, TensorInfo, quoted};

/// The key of the map of strings that stands beside the tensors.
const METADATA: &str = "__metadata__";

/// The most dimensions of a tensor. PyTorch's kernels stop at 64; the limit keeps one hostile shape,
/// two bytes for a dimension, from taking several times the header's memory.
pub const MAX_RANK: usize = 16_384;

/// PyTorch, NumPy and Rust's `isize` count lengths in a signed 64-bit integer.
const MAX_DIMENSION: u64 = i64::MAX as u64;

/// What the header's text says, before it is held against the file.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The tensors, in order.
    pub(super) entries: Vec<Entry>,
    /// The metadata.
    pub(super) metadata: BTreeMap<String, String>,
    /// The first thing that is well-formed and can't be used. It waits until the layout is known to
    /// be sound, because damage outranks it.
    pub(super) unusable: Option<Finding>,
}

/// One tensor as the header describes it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// None where no framework has the type.
    pub(super) dtype: Option<Dtype>,
    pub(super) shape: Vec<u64>,
    /// The first byte and the one behind the last, from the start of the data.
    pub(super) range: (u64, u64),
}

impl Entry {
    /// Makes the tensor of a checked entry.
    pub(super) fn into_tensor(self, data_start: u64) -> Option<Tensor> {
        let (start, end) = self.range;
        let info = TensorInfo {
            name: self.name,
            dtype: self.dtype?,
            shape: self.shape,
            bytes: end.checked_sub(start)?,
        };
        Some(Tensor { info, start: data_start.checked_add(start)?, end: data_start.checked_add(end)? })
    }
}

/// Reads the header's text.
///
/// # Errors
///
/// The text is no JSON, or not of the specified form.
pub(super) fn parse(text: &str) -> Result<Parsed, Flaw> {
    let mut parser = Parser::default();
    match json::read(text, HeaderSeed(&mut parser)) {
        Ok(()) => Ok(parser.parsed),
        Err(fault) => Err(parser.explain(text, &fault).into()),
    }
}

/// The state of reading: what was read, and why reading stopped.
#[derive(Default)]
struct Parser {
    parsed: Parsed,
    has_metadata: bool,
    /// The tensor that is being read.
    tensor: Option<String>,
    /// Why reading stopped, where that was not the JSON parser's decision.
    stop: Option<Finding>,
}

impl Parser {
    /// Turns the parser's fault into a finding.
    fn explain(self, text: &str, fault: &Fault) -> Finding {
        let padding = text.get(usize::try_from(fault.offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let finding = if fault.malformed && !padding.is_empty() && padding.bytes().all(|byte| byte == 0) {
            let message = format!(
                "the header is padded with {} NUL bytes; with spaces in their place it could be read",
                padding.len()
            );
            Finding::corrupted(Code::HeaderMalformed, Level::Container, message)
        } else if fault.malformed {
            let message = format!("the header is no JSON: {}", fault.message);
            Finding::corrupted(Code::HeaderMalformed, Level::Container, message)
        } else if fault.too_deep {
            self.placed(Finding::incompatible(Code::TooComplex, Level::Container, &fault.message))
        } else if let Some(finding) = self.stop {
            finding
        } else {
            let message = format!("the header is JSON of another form than specified: {}", fault.message);
            self.placed(Finding::incompatible(Code::HeaderMalformed, Level::Container, message))
        };
        finding.at_offset(LENGTH_BYTES + fault.offset)
    }

    /// Stops reading: what the header says can't be right.
    fn damaged<E: serde::de::Error>(&mut self, message: impl Into<String>) -> E {
        let finding = Finding::corrupted(Code::HeaderMalformed, Level::Container, message);
        self.stop(finding)
    }

    /// Stops reading: a key is there twice.
    fn repeated<E: serde::de::Error>(&mut self, what: &str) -> E {
        let message = format!("{what} is there twice: one reader takes the first, another the last");
        self.stop(Finding::incompatible(Code::Ambiguous, Level::Container, message))
    }

    fn stop<E: serde::de::Error>(&mut self, finding: Finding) -> E {
        let finding = self.placed(finding);
        let error = E::custom(&finding.message);
        self.stop = Some(finding);
        error
    }

    /// Keeps the first thing that is well-formed and can't be used.
    fn unusable(&mut self, code: Code, message: impl FnOnce() -> String) {
        if self.parsed.unusable.is_none() {
            self.parsed.unusable =
                Some(self.placed(Finding::incompatible(code, Level::Container, message())));
        }
    }

    /// Adds the tensor that is being read to a finding.
    fn placed(&self, finding: Finding) -> Finding {
        match &self.tensor {
            Some(name) => finding.at_tensor(name),
            None => finding,
        }
    }
}

/// Reads the whole header.
struct HeaderSeed<'a>(&'a mut Parser);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let parser = self.0;
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                if std::mem::replace(&mut parser.has_metadata, true) {
                    return Err(parser.repeated("__metadata__"));
                }
                map.next_value_seed(MetadataSeed(parser))?;
            } else {
                parser.tensor = Some(name);
                let (dtype, shape, range) = map.next_value_seed(InfoSeed(parser))?;
                let name = parser.tensor.take().unwrap_or_default();
                parser.parsed.entries.push(Entry { name, dtype, shape, range });
            }
        }
        Ok(())
    }
}

/// Reads `__metadata__`: a map of strings, or null as some writers put it.
struct MetadataSeed<'a>(&'a mut Parser);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("__metadata__ to be a map of strings")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value::<Word<'de>>()?.0.into_owned();
            match self.0.parsed.metadata.entry(key) {
                Slot::Vacant(slot) => drop(slot.insert(value)),
                Slot::Occupied(slot) => {
                    let what = format!("the key {} of __metadata__", quoted(slot.key()));
                    return Err(self.0.repeated(&what));
                }
            }
        }
        Ok(())
    }
}

/// Reads what the header says of one tensor: `{"dtype", "shape", "data_offsets"}`, and nothing that
/// merely has these values in that order.
struct InfoSeed<'a>(&'a mut Parser);

type Info = (Option<Dtype>, Vec<u64>, (u64, u64));

impl<'de> DeserializeSeed<'de> for InfoSeed<'_> {
    type Value = Info;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Info, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InfoSeed<'_> {
    type Value = Info;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Info, A::Error> {
        let parser = self.0;
        let (mut dtype, mut shape, mut range) = (None, None, None);
        while let Some(key) = map.next_key::<Word<'de>>()? {
            let repeated = match key.0.as_ref() {
                "dtype" => dtype.replace(map.next_value_seed(DtypeSeed(parser))?).is_some(),
                "shape" => shape.replace(map.next_value_seed(ShapeSeed(parser))?).is_some(),
                "data_offsets" => range.replace(map.next_value_seed(RangeSeed(parser))?).is_some(),
                _ => {
                    map.next_value_seed(Skip::default())?;
                    false
                }
            };
            if repeated {
                return Err(parser.repeated(&format!("the field {}", quoted(&key.0))));
            }
        }
        let dtype = dtype.ok_or_else(|| parser.damaged("the tensor has no dtype"))?;
        let shape = shape.ok_or_else(|| parser.damaged("the tensor has no shape"))?;
        let range = range.ok_or_else(|| parser.damaged("the tensor has no data_offsets"))?;
        Ok((dtype, shape, range))
    }
}

/// Reads a dtype; none where no framework has it.
struct DtypeSeed<'a>(&'a mut Parser);

impl<'de> DeserializeSeed<'de> for DtypeSeed<'_> {
    type Value = Option<Dtype>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let word = <Word<'de> as serde::Deserialize>::deserialize(deserializer)?;
        let dtype = Dtype::from_safetensors_name(&word.0);
        if dtype.is_none() {
            self.0.unusable(Code::DtypeUnknown, || format!("no framework has the dtype {}", quoted(&word.0)));
        }
        Ok(dtype)
    }
}

/// Reads a shape.
struct ShapeSeed<'a>(&'a mut Parser);

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape: a list of lengths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut shape = Vec::new();
        while let Some(number) = list.next_element::<Number>()? {
            if shape.len() == MAX_RANK {
                let message = format!("the tensor has more than {MAX_RANK} dimensions");
                return Err(self.0.stop(Finding::incompatible(Code::TooComplex, Level::Container, message)));
            }
            shape.push(self.0.length(number)?);
        }
        shape.shrink_to_fit();
        Ok(shape)
    }
}

impl Parser {
    /// Takes a number for the length of a dimension.
    fn length<E: serde::de::Error>(&mut self, number: Number) -> Result<u64, E> {
        let length = match number {
            Number::Whole(length) => length,
            Number::Beyond => u64::MAX,
            Number::Other(value) => {
                return Err(self.damaged(format!("the shape has the length {value}, which is none")));
            }
        };
        if length > MAX_DIMENSION {
            self.unusable(Code::TooComplex, || {
                "the shape has a length of 2^63 or more, beyond what any framework counts".to_owned()
            });
        }
        Ok(length)
    }

    /// Takes a number for a byte offset.
    fn offset<E: serde::de::Error>(&mut self, number: Number) -> Result<u64, E> {
        match number {
            Number::Whole(offset) => Ok(offset),
            Number::Beyond => Err(self.damaged("data_offsets has a number of 2^64 or more")),
            Number::Other(value) => {
                Err(self.damaged(format!("data_offsets has the number {value}, which is no offset")))
            }
        }
    }
}

/// Reads a byte range: exactly two offsets.
struct RangeSeed<'a>(&'a mut Parser);

impl<'de> DeserializeSeed<'de> for RangeSeed<'_> {
    type Value = (u64, u64);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RangeSeed<'_> {
    type Value = (u64, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data_offsets: a list of two offsets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let first = list.next_element::<Number>()?;
        let second = list.next_element::<Number>()?;
        let (Some(first), Some(second)) = (first, second) else {
            return Err(self.0.damaged("data_offsets has fewer than two offsets"));
        };
        if list.next_element::<IgnoredAny>()?.is_some() {
            return Err(self.0.damaged("data_offsets has more than two offsets"));
        }
        Ok((self.0.offset(first)?, self.0.offset(second)?))
    }
}
