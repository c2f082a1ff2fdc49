use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::document::{self, Stop, repeated, unusable};
use crate::format::Flaw;
use crate::format::json::{self, Number, Skip, Word};

/// What the document is called in a sentence.
const WHAT: &str = "trainer_state.json";

/// The part of `trainer_state.json` that says what a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrainerState {
    /// The number of optimizer steps done.
    pub global_step: u64,
}

/// Reads a `trainer_state.json`.
///
/// Python writes `NaN` and `Infinity` into JSON, and a diverged run's loss is that: they are read.
///
/// # Errors
///
/// The bytes are no JSON (*corrupted*), or there is no usable `global_step` (*incompatible*): the
/// Trainer would take the step for 0 and start again. Never [`Flaw::Io`].
///
/// ```
/// use ckpt::format::hugging_face::read_trainer_state;
/// let state = read_trainer_state(br#"{"global_step": 500, "log_history": [{"loss": NaN}]}"#)?;
/// assert_eq!(state.global_step, 500);
/// # Ok::<(), ckpt::format::Flaw>(())
/// ```
pub fn read_trainer_state(bytes: &[u8]) -> Result<TrainerState, Flaw> {
    let text = plain(document::text(bytes, WHAT)?);
    let mut stop = Stop::default();
    match json::read(&text, StateSeed(&mut stop)) {
        Ok(Some(global_step)) => Ok(TrainerState { global_step }),
        Ok(None) => Err(unusable(format!("{WHAT} has no global_step")).into()),
        Err(fault) => Err(stop.explain(WHAT, &fault).into()),
    }
}

/// Reads the document; none where it has no `global_step`.
struct StateSeed<'a>(&'a mut Stop);

impl<'de> DeserializeSeed<'de> for StateSeed<'_> {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StateSeed<'_> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with global_step")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut global_step = None;
        while let Some(key) = map.next_key::<Word<'de>>()? {
            if key.0 != "global_step" {
                map.next_value_seed(Skip::default())?;
                continue;
            }
            let Number::Whole(step) = map.next_value()? else {
                return Err(self.0.with(unusable(format!("{WHAT} has a global_step that is no step"))));
            };
            if global_step.replace(step).is_some() {
                return Err(self.0.with(repeated("global_step")));
            }
        }
        Ok(global_step)
    }
}

/// The words that Python writes and JSON doesn't have, each with a number of the same length.
const WORDS: [(&str, &str); 2] = [("NaN", "0  "), ("Infinity", "0       ")];

/// Replaces Python's own number words, outside strings, so that all offsets stay as they are.
fn plain(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, word, number)) = next_word(rest) {
        out.push_str(rest.get(..before).unwrap_or_default());
        out.push_str(number);
        rest = rest.get(before + word.len()..).unwrap_or_default();
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Finds the first of the words in a value's place: where it is, and what it and its number are.
///
/// `text` starts outside a string.
fn next_word(text: &str) -> Option<(usize, &'static str, &'static str)> {
    let (mut quoted, mut escaped, mut before) = (false, false, b' ');
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' && quoted {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        } else if !quoted
            && !before.is_ascii_alphanumeric()
            && let Some((word, number)) = word_at(text, at)
        {
            return Some((at, word, number));
        }
        before = byte;
    }
    None
}

fn word_at(text: &str, at: usize) -> Option<(&'static str, &'static str)> {
    let here = text.get(at..)?;
    WORDS.into_iter().find(|(word, _)| here.starts_with(word))
}
