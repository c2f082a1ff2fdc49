//! JSON of which equal values have equal texts: what configurations are told apart by.

use std::fmt::Write as _;

use serde_json::Value;

use crate::digest::Algorithm;

/// How deep a value may be nested: what is deeper can't be read back.
pub(crate) const MAX_CONFIG_DEPTH: usize = 100;

/// Returns the BLAKE3 of a value's canonical JSON, `blake3:` and the digits; nothing where it is nested too deep.
///
/// In canonical JSON the keys of every object are sorted by their bytes, there are no spaces, and numbers are as
/// `serde_json` prints them: `1` and `1.0` are two.
pub(crate) fn canonical_digest(value: &Value) -> Option<String> {
    let mut text = String::new();
    canonical(value, 0, &mut text)?;
    let algorithm = Algorithm::Blake3;
    Some(format!("{algorithm}:{}", algorithm.digest(text.as_bytes())))
}

/// Appends the canonical JSON of a value.
fn canonical(value: &Value, depth: usize, text: &mut String) -> Option<()> {
    if depth > MAX_CONFIG_DEPTH {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_is_that_of_the_canonical_text() {
        let value = json!({"b": [1, 2.5, null], "a": {"z": true, "y": "\u{e9}\n"}});
        let text = "{\"a\":{\"y\":\"\u{e9}\\n\",\"z\":true},\"b\":[1,2.5,null]}";
        let expected = format!("blake3:{}", Algorithm::Blake3.digest(text.as_bytes()));
        assert_eq!(canonical_digest(&value), Some(expected));
    }
}
