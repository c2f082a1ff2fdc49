//! Whatever `serde` can serialise, as plain values: a schedule, the place in the data, a random generator.

use ciborium::Value as Cbor;
use ciborium::value::Error as CborError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{MapKind, Node, NodeId, State, Tree, Value};
use crate::Error;
use crate::record::{Code, Finding, Level, quoted};

/// Values that are nested deeper than this aren't decoded; none deeper can be put into a state.
const MAX_DEPTH: usize = 100;
/// Tags of integers beyond 64 bits, from RFC 8949: bytes, the highest first; a negative one less one, negated.
const POSITIVE: u64 = 2;
const NEGATIVE: u64 = 3;

/// Turns any value that `serde` can serialise into a plain one, which Python reads as numbers, strings, lists
/// and dicts: a struct becomes a dict of its fields, an enum's variant its name, or a dict from its name to
/// what it holds.
///
/// Nothing is lost: floats keep their bits, infinities and NaN included, and integers are whole up to 128 bits.
/// (A signalling NaN of 32 bits comes out as a quiet one.) [`State::decode`] is the way back.
///
/// The state of a random generator is such a value: those of `rand_chacha` (`ChaCha8Rng`, `ChaCha12Rng`,
/// `ChaCha20Rng`), `rand_pcg` and `rand_xoshiro` can be serialised with their feature `serde`. `StdRng` and
/// `SmallRng` of `rand` can't: what they are made of may change with each release, and so does what they would
/// have saved.
///
/// ```
/// use ckpt::State;
/// use ckpt::tensor::to_value;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Progress {
///     epoch: u32,
///     position: u64,
///     best: f64,
/// }
///
/// let progress = Progress { epoch: 3, position: u64::MAX, best: f64::INFINITY };
/// let mut state = State::new();
/// state.insert("progress", to_value(&progress)?)?;
///
/// assert_eq!(state.value("progress.epoch").and_then(|epoch| epoch.as_i64()), Some(3));
/// assert_eq!(state.decode::<Progress>("progress")?, progress);
/// # Ok::<(), ckpt::Error>(())
/// ```
///
/// # Errors
///
/// The value refuses to be serialised, or it is nested too deep.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value<'static>, Error> {
    let value = Cbor::serialized(value)
        .map_err(|CborError::Custom(why)| Error::usage(format!("the value can't be serialised: {why}")))?;
    plain(value, 0)
}

impl State<'_> {
    /// Makes a value of what is at a path: the way back of [`to_value`]. An empty path is the top level.
    ///
    /// A tuple and a set are read as a list is; `bytearray` as `bytes`.
    ///
    /// # Errors
    ///
    /// There is nothing at the path, or it holds another value than the type takes; the message says what.
    pub fn decode<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let Some(id) = self.tree().find(path) else {
            let message = format!("there is no value at {}", quoted(path));
            return Err(refused(Code::KeyMissing, path, message));
        };
        let mut left = self.tree().visits();
        let value = cbor(self.tree(), id, 0, &mut left);
        let value = value.and_then(|value| value.deserialized::<T>().map_err(|CborError::Custom(why)| why));
        value.map_err(|why| {
            let message = format!("the value at {} isn't what was saved: {why}", quoted(path));
            refused(Code::ValueMismatch, path, message)
        })
    }
}

fn refused(code: Code, path: &str, message: String) -> Error {
    Error::of(Finding::incompatible(code, Level::Keys, message).at_key(path))
}

/// Turns what was serialised into a value for a state.
fn plain(value: Cbor, depth: usize) -> Result<Value<'static>, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::usage(format!("values are nested more than {MAX_DEPTH} deep")));
    }
    Ok(match value {
        Cbor::Null => Value::None,
        Cbor::Bool(value) => Value::Bool(value),
        Cbor::Integer(value) => i128::from(value).into(),
        Cbor::Float(value) => Value::Float(value),
        Cbor::Text(text) => Value::Text(text),
        Cbor::Bytes(bytes) => Value::Bytes(bytes),
        Cbor::Array(items) => {
            Value::List(items.into_iter().map(|item| plain(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Cbor::Map(entries) => {
            let entry = |(key, value)| Ok((plain(key, depth + 1)?, plain(value, depth + 1)?));
            Value::Map(entries.into_iter().map(entry).collect::<Result<_, Error>>()?)
        }
        Cbor::Tag(tag @ (POSITIVE | NEGATIVE), bytes) => large(tag, *bytes)?,
        other => return Err(Error::usage(format!("a state has no value such as {other:?}"))),
    })
}

/// Turns the bytes of an integer beyond 64 bits into two's complement.
fn large(tag: u64, bytes: Cbor) -> Result<Value<'static>, Error> {
    let Cbor::Bytes(mut bytes) = bytes else {
        return Err(Error::usage("a large integer isn't made of bytes"));
    };
    bytes.reverse();
    bytes.push(0);
    if tag == NEGATIVE {
        for byte in &mut bytes {
            *byte = !*byte;
        }
    }
    Ok(Value::BigInt(bytes))
}

/// Turns a value of a state into what can be deserialised; the error says which kind of value can't.
fn cbor(tree: &Tree, id: NodeId, depth: usize, left: &mut usize) -> Result<Cbor, String> {
    *left = left.checked_sub(1).ok_or("values are shared too often")?;
    if depth > MAX_DEPTH {
        return Err(format!("it is nested more than {MAX_DEPTH} deep"));
    }
    let mut inner = |id: NodeId| cbor(tree, id, depth + 1, left);
    Ok(match tree.node(id) {
        Node::None => Cbor::Null,
        Node::Bool(value) => Cbor::Bool(*value),
        Node::Int(value) => Cbor::Integer((*value).into()),
        node @ Node::BigInt(_) => match (node.as_i128(), node.as_u128()) {
            (Some(value), _) => value.into(),
            (None, Some(value)) => value.into(),
            (None, None) => return Err("it has an integer of more than 128 bits".to_owned()),
        },
        Node::Float(value) => Cbor::Float(*value),
        Node::Text(text) => Cbor::Text(text.to_string()),
        Node::Bytes(bytes) | Node::ByteArray(bytes) => Cbor::Bytes(bytes.to_vec()),
        Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
            Cbor::Array(items.iter().map(|item| inner(*item)).collect::<Result<_, _>>()?)
        }
        Node::Map(_, None) => Cbor::Map(Vec::new()),
        Node::Map(MapKind::Dict | MapKind::OrderedDict | MapKind::Counter, Some(map)) => {
            let entry = |(key, value): &(NodeId, NodeId)| Ok((inner(*key)?, inner(*value)?));
            Cbor::Map(map.entries.iter().map(entry).collect::<Result<_, String>>()?)
        }
        Node::Size(lengths) => Cbor::Array(lengths.iter().map(|length| (*length).into()).collect()),
        other => return Err(format!("it has a {}", other.type_name())),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tensor::TensorView;
    use crate::{Dtype, ErrorKind};
    use rand_chacha::rand_core::{Rng, SeedableRng};

    fn through<T: Serialize + DeserializeOwned>(value: &T) -> T {
        let mut state = State::new();
        state.insert("value", to_value(value).unwrap()).unwrap();
        state.decode("value").unwrap()
    }

    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug, Clone)]
    enum Schedule {
        Constant,
        Step(u32),
        Cosine { warmup: u64, total: u64 },
        Pair(i8, Option<bool>),
    }

    #[test]
    fn every_shape_of_value_comes_back() {
        for schedule in [
            Schedule::Constant,
            Schedule::Step(7),
            Schedule::Cosine { warmup: u64::MAX, total: 1 },
            Schedule::Pair(-3, None),
        ] {
            assert_eq!(through(&schedule), schedule);
        }
        let map: BTreeMap<u64, (String, char)> =
            [(u64::MAX, ("ä".to_owned(), 'ß')), (0, Default::default())].into();
        assert_eq!(through(&map), map);
        let wide = [i128::MIN, i128::from(i64::MIN) - 1, -1, i128::from(u64::MAX), i128::MAX];
        assert_eq!(through(&wide), wide);
        let unsigned = [u128::MAX, u128::MAX >> 1, 1 << 64, 1 << 63, 0];
        assert_eq!(through(&unsigned), unsigned);
    }

    #[test]
    fn floats_keep_their_bits() {
        let odd = [0x7ff0_0000_0000_0000, 0xfff8_0000_0000_0001, 0x7ff0_0000_0000_0001, 1 << 63, 1];
        for bits in odd {
            assert_eq!(through(&f64::from_bits(bits)).to_bits(), bits);
        }
        for bits in [0x7f80_0000_u32, 0xffc0_0001, 0x8000_0000, 1, 0x3dcc_cccd] {
            assert_eq!(through(&f32::from_bits(bits)).to_bits(), bits);
        }
    }

    /// Draws a while, saves, and draws on: here and there.
    fn goes_on<R: Rng + SeedableRng + Serialize + DeserializeOwned>() {
        let mut rng = R::seed_from_u64(42);
        // An odd number of words: a block generator is inside of its block.
        for _ in 0..101 {
            rng.next_u32();
        }
        let mut again = through(&rng);
        for _ in 0..1_000 {
            assert_eq!(again.next_u64(), rng.next_u64());
        }
    }

    #[test]
    fn random_generators_go_on_where_they_were() {
        goes_on::<rand_chacha::ChaCha8Rng>();
        goes_on::<rand_chacha::ChaCha12Rng>();
        goes_on::<rand_chacha::ChaCha20Rng>();
        goes_on::<rand_pcg::Pcg32>();
        goes_on::<rand_pcg::Pcg64>();
        goes_on::<rand_pcg::Pcg64Mcg>();
        goes_on::<rand_xoshiro::Xoshiro256PlusPlus>();
        goes_on::<rand_xoshiro::Xoshiro256StarStar>();
        goes_on::<rand_xoshiro::Xoshiro128PlusPlus>();
        goes_on::<rand_xoshiro::SplitMix64>();
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let mut state = State::new();
        state.insert("tensor", TensorView::new(Dtype::U8, [1], vec![1]).unwrap()).unwrap();
        state.insert("text", "x").unwrap();
        state.insert("huge", Value::BigInt(vec![1; 18])).unwrap();
        for (path, expected) in [
            ("tensor", "it has a torch.Tensor"),
            ("text", "string \"x\", expected"),
            ("huge", "more than 128 bits"),
            ("nothing", "no value at 'nothing'"),
        ] {
            let error = state.decode::<u8>(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Incompatible);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let code = state.decode::<u8>("text").unwrap_err().finding().map(|finding| finding.code);
        assert_eq!(code, Some(Code::ValueMismatch));
    }

    #[test]
    fn what_is_shared_without_end_is_refused() {
        // Each list holds the one before it twice: 2⁶⁰ values.
        let mut nodes = vec![Node::None];
        for below in 0..60 {
            nodes.push(Node::List(vec![NodeId(below), NodeId(below)]));
        }
        let state = State::from_parts(Tree::new(nodes, Vec::new(), NodeId(60)), Vec::new());
        assert!(
            state.decode::<serde::de::IgnoredAny>("").unwrap_err().to_string().contains("shared too often")
        );
    }
}
