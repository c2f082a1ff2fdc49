//! Strict JSON for small documents that a stranger may have written: the safetensors header, the
//! shard index, the Trainer's state.
//!
//! Reading is done by `serde_json`, the parser that decides what the safetensors specification's
//! "JSON" is. What is added here: a fault keeps its byte offset; a document that is no JSON at all
//! is told from one that is and says something unexpected; repeated keys can be seen; numbers keep
//! apart what `serde` would fold together.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

/// How deep a value that nobody asks for may be nested. It bounds the stack; `serde_json`, and with
/// it the reference reader of safetensors, stops at 128 in all.
pub(super) const MAX_NESTING: usize = 100;

/// The message of a [`Skip`] that came to [`MAX_NESTING`].
const TOO_DEEP: &str = "a value is nested deeper than 100 levels";

/// Why a document could not be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where, in bytes from the document's start.
    pub(super) offset: u64,
    /// Whether the text is no JSON. Otherwise it is, and says something that was not expected.
    pub(super) malformed: bool,
    /// Whether it is JSON, nested deeper than [`MAX_NESTING`].
    pub(super) too_deep: bool,
    /// What the parser says of it, without the place.
    pub(super) message: String,
}

/// Reads one document, which must be all of `text`.
///
/// Where the content is unexpected, the rest of the text is still looked at, so that a document
/// that is no JSON is always called that.
pub(super) fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut reader).map_err(|error| fault(text, &error))?;
    reader.end().map_err(|error| fault(text, &error))?;
    Ok(value)
}

fn fault(text: &str, error: &serde_json::Error) -> Fault {
    if error.classify() == Category::Data
        && let Err(syntax) = serde_json::from_str::<IgnoredAny>(text)
    {
        return fault_of(text, &syntax, true);
    }
    fault_of(text, error, error.classify() != Category::Data)
}

fn fault_of(text: &str, error: &serde_json::Error, malformed: bool) -> Fault {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = whole.strip_suffix(&place).unwrap_or(&whole).to_owned();
    let too_deep = !malformed && message == TOO_DEEP;
    Fault { offset: offset_of(text, error), malformed, too_deep, message }
}

/// Turns the parser's line and column, which counts bytes from 1, into an offset.
fn offset_of(text: &str, error: &serde_json::Error) -> u64 {
    let line_start = match error.line().checked_sub(2) {
        None => 0,
        Some(skipped) => text
            .bytes()
            .enumerate()
            .filter(|&(_, byte)| byte == b'\n')
            .nth(skipped)
            .map_or(0, |(at, _)| at + 1),
    };
    (line_start + error.column().saturating_sub(1)).min(text.len()) as u64
}

/// A JSON number, as the formats here care about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// A whole number, not negative.
    Whole(u64),
    /// 2⁶⁴ or more.
    Beyond,
    /// Negative, or with a fraction, but for the above.
    Other(f64),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number::Whole(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "only the sign matters")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
        Ok(u64::try_from(value).map_or(Number::Other(value as f64), Number::Whole))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
        const BEYOND: f64 = 18_446_744_073_709_551_616.0; // 2⁶⁴
        Ok(if value >= BEYOND { Number::Beyond } else { Number::Other(value) })
    }
}

/// A JSON string and nothing else, borrowed where it has no escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Word<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Word<'de>, E> {
        Ok(Word(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Word<'de>, E> {
        Ok(Word(Cow::Owned(text.to_owned())))
    }
}

/// Reads a value that nobody asks for, and drops it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skip {
    depth: usize,
}

impl Skip {
    /// Returns what skips the values inside this one.
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_NESTING {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::*;

    fn number(text: &str) -> Number {
        read(text, PhantomData::<Number>).unwrap()
    }

    #[test]
    fn numbers_keep_apart_what_matters() {
        assert_eq!(number("18446744073709551615"), Number::Whole(u64::MAX));
        assert_eq!(number("18446744073709551616"), Number::Beyond);
        assert_eq!(number("-16"), Number::Other(-16.0));
        assert_eq!(number("2.5"), Number::Other(2.5));
        assert_eq!(number("4.0"), Number::Other(4.0));
    }

    #[test]
    fn a_fault_has_its_place_and_kind() {
        let fault = read("[1,\n 2,,3]", PhantomData::<Vec<Number>>).unwrap_err();
        assert!(fault.malformed);
        assert_eq!(fault.offset, 7);
        let fault = read("[1, \"2\"]", PhantomData::<Vec<Number>>).unwrap_err();
        assert!(!fault.malformed, "{fault:?}");
        assert_eq!(fault.message, "invalid type: string \"2\", expected a number");
    }

    #[test]
    fn broken_text_outranks_unexpected_content() {
        let fault = read("[\"2\", 3", PhantomData::<Vec<Number>>).unwrap_err();
        assert!(fault.malformed);
    }
}
