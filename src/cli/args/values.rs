//! What the values of options may be.

use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::digest::Algorithm;
use crate::record::{Level, parse_duration};
use crate::save::Format;

/// A level.
pub(super) fn levels() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::ALL.map(Level::as_str)).try_map(|word| word.parse::<Level>())
}

/// An algorithm of digests.
pub(super) fn algorithms() -> impl TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(Algorithm::ALL.map(Algorithm::as_str))
        .try_map(|word| Algorithm::from_name(&word).ok_or("no such algorithm"))
}

/// A format that can be written.
pub(super) fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::as_str)).try_map(|word| {
        let format = Format::ALL.into_iter().find(|format| format.as_str() == word);
        format.ok_or("no such format")
    })
}

/// A number of bytes: `500G`, `1.5TiB`, `4096`; K, M, G and T are powers of 1000, Ki, Mi, Gi and Ti of 1024.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    match text.trim().parse::<ByteSize>() {
        Ok(ByteSize(0)) => Err("nothing can be done with 0 bytes".to_owned()),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err("no number of bytes, such as 200M or 1.5TiB".to_owned()),
    }
}

/// A duration: `30m`, `7d`, `1h 30m`; a day has 24 hours, a week seven days.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(str::to_owned)
}

/// A name and a value, which is JSON or else text: `rows=7`, `model="a b"`.
pub(super) fn value(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = pair(text)?;
    Ok((name, serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

/// A name and a number: `gpu_hours=0.5`.
pub(super) fn amount(text: &str) -> Result<(String, f64), String> {
    let (name, number) = pair(text)?;
    let number = number.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    Ok((name, number.ok_or("no number behind the '='")?))
}

fn pair(text: &str) -> Result<(String, &str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value)),
        _ => Err("no NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_or_binary_as_their_unit_says() {
        let read = ["4096", "200M", "200MB", "1.5TiB", "1Ki", " 7 k "].map(|text| bytes(text).unwrap());
        assert_eq!(read, [4096, 200_000_000, 200_000_000, 3 << 39, 1024, 7000]);
        for text in ["", "0", "-1", "M", "1Q", "soon"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_json_or_text() {
        let json =
            ["rows=7", "list=[1, true]", "who=ada", "empty=", "a=b=c"].map(|text| value(text).unwrap().1);
        assert_eq!(serde_json::json!(json), serde_json::json!([7, [1, true], "ada", "", "b=c"]));
        assert_eq!(amount("gpu_hours = 0.5"), Ok(("gpu_hours".to_owned(), 0.5)));
        assert!(["", "=1", "x"].iter().all(|text| value(text).is_err() && amount(text).is_err()));
        assert!(["x=", "x=many", "x=nan", "x=inf"].iter().all(|text| amount(text).is_err()));
    }

    #[test]
    fn durations_are_of_fixed_units() {
        let seconds = ["90s", "30m", "1h 30m", "7d", "2w"].map(|text| duration(text).unwrap().as_secs());
        assert_eq!(seconds, [90, 1800, 5400, 604_800, 1_209_600]);
        for text in ["", "7", "1mo", "1 year", "-3h", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
