//! Text for terminals: escaped, measured, coloured.

use std::ffi::OsStr;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use crate::record::Verdict;

/// Returns text that can do nothing to a terminal: control characters and those that reorder or hide
/// text are written as escapes.
pub(super) fn visible(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_visible(&mut escaped, text);
    escaped
}

/// As [`visible`], for a path; bytes that are no UTF-8 are written as `\xNN`.
pub(super) fn visible_path(path: impl AsRef<OsStr>) -> String {
    let path = path.as_ref().as_encoded_bytes();
    let mut escaped = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        push_visible(&mut escaped, chunk.valid());
        for byte in chunk.invalid() {
            let _: std::fmt::Result = write!(escaped, "\\x{byte:02x}");
        }
    }
    escaped
}

/// Appends text, escaped. Plain ASCII, nearly all there is, is taken as it is.
fn push_visible(escaped: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        escaped.push_str(text);
        return;
    }
    for character in text.chars() {
        if is_hostile(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
}

/// Control characters (C0, DEL, C1), separators of lines, and what reorders or hides its neighbours:
/// the marks of Unicode Technical Report 36, section 2.
pub(super) fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns a size as people read it: `512 B`, `1.5 GiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let unit = (u64::BITS - 1 - bytes.leading_zeros()) / 10;
    // In tenths, rounded down, so that no size looks larger than it is.
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    let name = UNITS.get(unit as usize - 1).copied().unwrap_or_default();
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Returns a count with its noun: `1 checkpoint`, `2 checkpoints`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns a duration as people read it: `12 ms`, `3.4 s`.
pub(super) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds / 1000 % 60),
    }
}

/// Returns how long ago something was, in its largest unit: `3d`, `5h`, `12min`, `<1min`.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    // What a clock says is in the future is new.
    match u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0) {
        0..60 => "<1min".to_owned(),
        seconds @ 60..3600 => format!("{}min", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// The styles of what is printed: colours, or none at all.
///
/// Colour is decided once and not stripped behind: over thousands of lines, that is a third of the
/// time that the fast path has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) is_coloured: bool,
}

impl Palette {
    /// The colour of a verdict. The word beside it says the same.
    pub(super) fn verdict(self, verdict: Verdict) -> Style {
        let colour = match verdict {
            Verdict::Valid => AnsiColor::Green,
            Verdict::Incompatible => AnsiColor::Yellow,
            Verdict::Corrupted => AnsiColor::Red,
            Verdict::Unreadable => AnsiColor::Magenta,
        };
        self.style(colour.on_default().bold())
    }

    /// The style of what is beside the point.
    pub(super) fn dimmed(self) -> Style {
        self.style(Style::new().dimmed())
    }

    /// Returns the style, or none.
    fn style(self, style: Style) -> Style {
        if self.is_coloured { style } else { Style::new() }
    }
}

/// The style of the word that begins a line on stderr.
pub(super) fn style_of_talk(kind: &str) -> Style {
    if kind == "error" { AnsiColor::Red.on_default().bold() } else { AnsiColor::Cyan.on_default().bold() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_stays() {
        assert_eq!(visible("a\u{1b}[2J\nb\u{9b}\u{202e}\u{7f}"), r"a\u{1b}[2J\nb\u{9b}\u{202e}\u{7f}");
        assert_eq!(visible("modèle/模型 1.pt"), "modèle/模型 1.pt");
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_shown_as_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        assert_eq!(visible_path(OsStr::from_bytes(b"a\xff\x1b.pt")), r"a\xff\u{1b}.pt");
    }

    #[test]
    fn sizes_are_rounded_down() {
        let sizes = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 1 << 30, u64::MAX];
        let shown = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1023.9 MiB", "1.0 GiB", "15.9 EiB"];
        assert_eq!(sizes.map(size), shown);
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let age = |seconds: i64| age(Timestamp::from_second(1_000_000 - seconds).unwrap(), now);
        let shown = ["<1min", "<1min", "1min", "59min", "1h", "23h", "1d", "11d"];
        assert_eq!([-9, 59, 60, 3599, 3600, 86_399, 86_400, 1_000_000].map(age), shown);
    }

    #[test]
    fn durations_and_counts_read_well() {
        assert_eq!([9, 1234, 61_999].map(duration), ["9 ms", "1.2 s", "1 min 1 s"]);
        assert_eq!([count(1, "tensor"), count(0, "tensor")], ["1 tensor", "0 tensors"]);
    }
}
