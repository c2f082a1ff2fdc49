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
    fn durations_are_of_fixed_units() {
        let seconds = ["90s", "30m", "1h 30m", "7d", "2w"].map(|text| duration(text).unwrap().as_secs());
        assert_eq!(seconds, [90, 1800, 5400, 604_800, 1_209_600]);
        for text in ["", "7", "1mo", "1 year", "-3h", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
