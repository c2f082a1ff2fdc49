use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Reads a duration: `30m`, `7d`, `1h 30m`; a day has 24 hours, a week seven days. Says what is wrong with a
/// text that is none.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let span: Span = text.trim().parse().map_err(|_| "no duration, such as 30m or 7d")?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let duration = duration.map_err(|_| "months and years differ in length: give days")?;
    Duration::try_from(duration).map_err(|_| "a duration can't be negative")
}
