use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::{MAX_CONFIG_DEPTH, canonical_digest};

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
    #[error("the model's configuration is nested more than {MAX_CONFIG_DEPTH} deep")]
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
        let hash = canonical_digest(&config).ok_or(ModelConfigError::TooDeep)?;
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
        assert!(ModelConfig::of(&nested(MAX_CONFIG_DEPTH)).is_ok());
        assert_eq!(ModelConfig::of(&nested(MAX_CONFIG_DEPTH + 1)), Err(ModelConfigError::TooDeep));
    }
}
