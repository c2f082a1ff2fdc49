use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Algorithm;

/// How deep a configuration may be nested: what is deeper can't be read back.
const MAX_DEPTH: usize = 100;

/// How many differences are named.
const NAMED: usize = 5;

/// How long a value may be that is named, in bytes.
const MAX_NAMED_BYTES: usize = 60;

/// What features are made with: the name of the model, its dtype, how sequences are packed, whatever makes a
/// difference to the rows.
///
/// It is kept in full, so that what differs can be named, and as the digest of its canonical JSON (keys in order, no
/// spaces), so that it can be compared.
///
/// ```
/// use ckpt::record::ModelConfig;
/// use serde_json::json;
/// let half = ModelConfig::of(&json!({"model": "esm2_t33", "dtype": "float16", "packing": true}))?;
/// let full = ModelConfig::of(&json!({"packing": true, "dtype": "float32", "model": "esm2_t33"}))?;
/// assert_eq!(full.differences(&half), ["dtype is \"float32\" here and \"float16\" there"]);
/// # Ok::<(), ckpt::record::ModelConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelConfig {
    /// Algorithm and digits, of the canonical JSON.
    pub hash: String,
    /// All of it.
    pub config: Value,
}

/// Why something is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelConfigError {
    /// JSON can't hold it.
    #[error("the model's configuration can't be written as JSON: {0}")]
    NoJson(String),
    /// It is nested too deep.
    #[error("the model's configuration is nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

impl ModelConfig {
    /// Takes a configuration: anything that becomes JSON.
    ///
    /// # Errors
    ///
    /// See [`ModelConfigError`].
    pub fn of(config: &(impl Serialize + ?Sized)) -> Result<Self, ModelConfigError> {
        let config =
            serde_json::to_value(config).map_err(|error| ModelConfigError::NoJson(error.to_string()))?;
        let hash = hash(&config).ok_or(ModelConfigError::TooDeep)?;
        Ok(Self { hash, config })
    }

    /// Returns in which fields another configuration differs, in words: the first few, and how many more there are.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("", &self.config, &other.config, &mut found);
        let more = found.len().saturating_sub(NAMED);
        found.truncate(NAMED);
        if more > 0 {
            found.push(format!("{more} more"));
        }
        found
    }
}

/// Returns the digest of a value's canonical JSON; nothing where it is nested too deep.
fn hash(value: &Value) -> Option<String> {
    let mut text = String::new();
    canonical(value, 0, &mut text)?;
    let algorithm = Algorithm::Blake3;
    Some(format!("{algorithm}:{}", algorithm.digest(text.as_bytes())))
}

/// Appends the canonical JSON of a value.
fn canonical(value: &Value, depth: usize, text: &mut String) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                canonical(item, depth + 1, text)?;
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            // The map's own order depends on how it was built.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (at, (key, value)) in entries.into_iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                // A text that is written into a text can't fail.
                write!(text, "{comma}{}:", Value::from(key.as_str())).ok()?;
                canonical(value, depth + 1, text)?;
            }
            text.push('}');
        }
        plain => write!(text, "{plain}").ok()?,
    }
    Some(())
}

/// Finds where two values differ. Neither is nested deeper than the system's stack allows: they were hashed, or read.
fn compare(path: &str, here: &Value, there: &Value, found: &mut Vec<String>) {
    match (here, there) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (one.get(key), other.get(key)) {
                    (Some(here), Some(there)) => compare(&path, here, there, found),
                    (here, there) => found.push(different(&path, here, there)),
                }
            }
        }
        (here, there) if here != there => found.push(different(path, Some(here), Some(there))),
        _ => {}
    }
}

fn different(path: &str, here: Option<&Value>, there: Option<&Value>) -> String {
    let name = if path.is_empty() { "it".to_owned() } else { path.escape_debug().to_string() };
    format!("{name} is {} here and {} there", shown(here), shown(there))
}

/// Returns a value as a message repeats it.
fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "missing".to_owned() };
    // Control characters are escapes in JSON already.
    let text = value.to_string();
    match text.get(..text.floor_char_boundary(MAX_NAMED_BYTES)) {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: impl Serialize) -> ModelConfig {
        ModelConfig::of(&value).unwrap()
    }

    #[test]
    fn the_hash_is_that_of_the_canonical_text() {
        let config = of(json!({"b": [1, 2.5, null], "a": {"z": true, "y": "\u{e9}\n"}}));
        let text = "{\"a\":{\"y\":\"\u{e9}\\n\",\"z\":true},\"b\":[1,2.5,null]}";
        assert_eq!(config.hash, format!("blake3:{}", Algorithm::Blake3.digest(text.as_bytes())));
    }

    #[test]
    fn what_differs_is_named() {
        let one = of(json!({"dtype": "f16", "pack": {"max": 1, "on": true}, "only": 1}));
        let other = of(json!({"dtype": "f32", "pack": {"max": 2, "on": true}}));
        assert_eq!(
            one.differences(&other),
            [
                "dtype is \"f16\" here and \"f32\" there",
                "only is 1 here and missing there",
                "pack.max is 1 here and 2 there",
            ]
        );
        assert!(one.differences(&one).is_empty());
        assert_eq!(of(json!(1)).differences(&of(json!([1]))), ["it is 1 here and [1] there"]);
        let many = |value: u32| {
            of(Value::Object((0..9).map(|key| (format!("{key}"), Value::from(value + key))).collect()))
        };
        assert_eq!(many(0).differences(&many(100)).last().unwrap(), "4 more");
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let nested = |depth| (0..depth).fold(json!(0), |value, _| json!([value]));
        assert!(ModelConfig::of(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(ModelConfig::of(&nested(MAX_DEPTH + 1)), Err(ModelConfigError::TooDeep));
    }
}
