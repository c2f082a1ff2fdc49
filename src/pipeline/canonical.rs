//! Configurations: equal ones have equal digests.

use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::digest::Algorithm;

/// Returns the digest of a configuration: the BLAKE3 of its canonical JSON, `blake3:` and the digits.
///
/// In canonical JSON the keys of every object are sorted by their bytes, there are no spaces, and numbers are as
/// `serde_json` prints them: `1` and `1.0` are two.
///
/// # Errors
///
/// It can't be serialised as JSON: a key is no text, say.
///
/// ```
/// use ckpt::pipeline::config_digest;
/// let one = config_digest(&serde_json::json!({"width": 768, "packing": true}))?;
/// let same: serde_json::Value = serde_json::from_str(r#"{ "packing": true, "width": 768 }"#).unwrap();
/// assert_eq!(config_digest(&same)?, one);
/// assert!(one.starts_with("blake3:"));
/// # Ok::<(), ckpt::Error>(())
/// ```
pub fn config_digest<T: Serialize + ?Sized>(config: &T) -> Result<String, Error> {
    let value = serde_json::to_value(config)
        .map_err(|error| Error::usage(format!("the configuration can't be written as JSON: {error}")))?;
    let digest = Algorithm::Blake3.digest(canonical(value).to_string().as_bytes());
    Ok(format!("{}:{digest}", digest.algorithm()))
}

/// Sorts the keys of all objects: whether a map does so by itself depends on how `serde_json` was built.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> =
                map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_count_and_all_else_does() {
        let digest = |text: &str| config_digest(&serde_json::from_str::<Value>(text).unwrap()).unwrap();
        let one = digest(r#"{"b": [1, {"y": 2, "x": 3}], "a": "ä"}"#);
        assert_eq!(digest(r#"{"a":"\u00e4","b":[1,{"x":3,"y":2}]}"#), one);
        for other in [
            r#"{"a":"ä","b":[{"x":3,"y":2},1]}"#,
            r#"{"a":"ä","b":[1.0,{"x":3,"y":2}]}"#,
            r#"{"a":"ä","b":[1,{"x":3,"y":2}],"c":null}"#,
        ] {
            assert_ne!(digest(other), one, "{other}");
        }
        let known = format!("blake3:{}", Algorithm::Blake3.digest(br#"{"a":1,"b":[true,null]}"#));
        assert_eq!(digest(r#"{"b":[true,null],"a":1}"#), known);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(config_digest(&odd).is_err());
    }
}
