//! JSON: one document, or a report per line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

use super::{Output, Past, Summary};
use crate::cli::text::is_hostile;
use crate::error::Error;
use crate::record::Report;

/// The schema's name and version, the first field of the document.
const VERIFY_SCHEMA: &str = "ckpt.verify/1";

/// A report per line, each written out at once.
pub(in crate::cli) struct Lines<W> {
    out: W,
}

impl<W: Write> Lines<W> {
    pub(in crate::cli) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Output for Lines<W> {
    fn report(&mut self, report: Report, _: Option<&Past>) -> io::Result<()> {
        line(&mut self.out, &report)?;
        self.out.flush()
    }

    fn finish(&mut self, _: &Summary, _: &[Error]) -> io::Result<()> {
        self.out.flush()
    }
}

/// One document. The reports are written as they come, the counts behind them: nothing is kept.
pub(in crate::cli) struct Document<W> {
    out: W,
    schema: &'static str,
    list: &'static str,
    is_begun: bool,
}

impl<W: Write> Document<W> {
    pub(super) fn new(out: W) -> Self {
        Self::of(out, VERIFY_SCHEMA, "reports")
    }

    /// Makes a document of another schema that has the same form; `list` is what its list is called.
    pub(in crate::cli) fn of(out: W, schema: &'static str, list: &'static str) -> Self {
        Self { out, schema, list, is_begun: false }
    }

    /// Writes what comes before the first report.
    fn begin(&mut self) -> io::Result<()> {
        self.is_begun = true;
        write!(self.out, "{{\"schema\":\"{}\",\"{}\":[", self.schema, self.list)
    }
}

impl<W: Write> Document<W> {
    /// Writes the next of the list.
    pub(in crate::cli) fn add(&mut self, report: &impl Serialize) -> io::Result<()> {
        if self.is_begun {
            self.out.write_all(b",\n")?;
        } else {
            self.begin()?;
            self.out.write_all(b"\n")?;
        }
        value(&mut self.out, report)
    }

    /// Writes the end.
    pub(in crate::cli) fn end(&mut self, summary: &impl Serialize, problems: &[Error]) -> io::Result<()> {
        if !self.is_begun {
            self.begin()?;
        }
        let problems: Vec<Problem> = problems.iter().map(Problem::of).collect();
        self.out.write_all(b"\n],\"problems\":")?;
        value(&mut self.out, &problems)?;
        self.out.write_all(b",\"summary\":")?;
        value(&mut self.out, summary)?;
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}

impl<W: Write> Output for Document<W> {
    fn report(&mut self, report: Report, _: Option<&Past>) -> io::Result<()> {
        self.add(&report)
    }

    fn finish(&mut self, summary: &Summary, problems: &[Error]) -> io::Result<()> {
        self.end(summary, problems)
    }
}

/// A named directory that is itself the problem.
#[derive(Serialize)]
struct Problem {
    path: String,
    message: String,
}

impl Problem {
    /// Takes the facts of an error.
    fn of(error: &Error) -> Self {
        let path = error.path().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        Self { path, message: error.to_string() }
    }
}

/// Writes a value and a newline.
pub(in crate::cli) fn line(out: &mut impl Write, of: &impl Serialize) -> io::Result<()> {
    value(out, of)?;
    out.write_all(b"\n")
}

/// Writes a value.
fn value(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Visible);
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// Escapes, beyond what JSON demands, all that a terminal would act on: JSON is looked at as well.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, hostile)) = rest.char_indices().find(|&(_, character)| is_hostile(character)) {
            let (before, after) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut units = [0; 2];
            for unit in hostile.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = after.get(hostile.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_read_back_the_same() {
        let text = "a\u{1b}[2J\u{9b}\u{202e}\u{e0001}\u{7f}é\n\"";
        let mut out = Vec::new();
        line(&mut out, &text).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "\"a\\u001b[2J\\u009b\\u202e\\udb40\\udc01\\u007fé\\n\\\"\"\n");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    #[test]
    fn a_document_without_reports_is_whole() {
        let mut document = Document::new(Vec::new());
        let problem = Error::nothing("runs", "no checkpoint found in this directory");
        document.finish(&Summary::default(), &[problem]).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&document.out).unwrap();
        assert_eq!(read["reports"], serde_json::json!([]));
        assert_eq!(read["problems"][0]["path"], "runs");
    }
}
