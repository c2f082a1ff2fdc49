//! Configurations: equal ones have equal digests.

use serde::Serialize;

use crate::Error;
use crate::record::{MAX_CONFIG_DEPTH, canonical_digest};

/// Returns the digest of a configuration: the BLAKE3 of its canonical JSON (keys in order, no spaces), `blake3:` and the
/// digits.
///
/// # Errors
///
/// It can't be serialised as JSON (a key is no text, say), or is nested too deep.
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
    let too_deep = || Error::usage(format!("the configuration is nested more than {MAX_CONFIG_DEPTH} deep"));
    canonical_digest(&value).ok_or_else(too_deep)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::digest::Algorithm;

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
