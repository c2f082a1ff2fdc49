//! The table for people: failures first, worst on top, then what is valid, then the counts.
//!
//! Failures are kept whole; of a valid checkpoint, only its line is kept. A note that many
//! checkpoints share is shown once, behind them.

use std::collections::HashMap;
use std::io::{self, Write};

use super::{Output, Past, Summary};
use crate::cli::hints;
use crate::cli::text::{Palette, count, duration, size, visible, visible_path};
use crate::error::Error;
use crate::record::{Code, Finding, FormatKind, Integrity, Level, Place, Report, Verdict};

/// A note of more checkpoints than this is shown once, with their number.
const NOTES_APART_MAX: usize = 3;

/// The most findings shown of one checkpoint; the JSON has all.
const FINDINGS_MAX: usize = 12;

/// Collects the reports, and prints them at the end.
pub(super) struct Table<W> {
    out: W,
    palette: Palette,
    is_quiet: bool,
    failures: Vec<(Report, Option<Past>)>,
    rows: Vec<Row>,
    notes: Notes,
}

/// The line of a valid checkpoint.
struct Row {
    path: String,
    passed: Option<Level>,
    format: FormatKind,
    bytes: u64,
    tensors: Option<u64>,
    integrity: Integrity,
    notes: Vec<usize>,
    past: Option<Past>,
}

/// The distinct notes, each with the number of checkpoints that have it.
#[derive(Default)]
struct Notes {
    numbers: HashMap<String, usize>,
    texts: Vec<(String, usize)>,
    /// The note that was counted last: neighbours often share theirs, and comparing is cheaper than
    /// writing it out.
    last: Option<(Finding, usize)>,
}

impl Notes {
    /// Counts a note, and returns its number.
    fn add(&mut self, note: &Finding) -> usize {
        let known = self.last.as_ref().filter(|(last, _)| last == note).map(|(_, number)| *number);
        let number = known.unwrap_or_else(|| {
            let number = self.number(described(note));
            self.last = Some((note.clone(), number));
            number
        });
        if let Some((_, count)) = self.texts.get_mut(number) {
            *count += 1;
        }
        number
    }

    /// Returns the number of a note's text, a new one if need be.
    fn number(&mut self, text: String) -> usize {
        let next = self.texts.len();
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push((text.clone(), 0));
            next
        })
    }

    /// Returns the notes of a row that are shown beneath it.
    fn apart<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a str> {
        let notes = row.notes.iter().filter_map(|&number| self.texts.get(number));
        notes.filter(|(_, count)| *count <= NOTES_APART_MAX).map(|(text, _)| text.as_str())
    }

    /// Returns the notes of many checkpoints, with their number.
    fn shared(&self) -> impl Iterator<Item = &(String, usize)> {
        self.texts.iter().filter(|(_, count)| *count > NOTES_APART_MAX)
    }
}

impl<W: Write> Table<W> {
    pub(super) fn new(out: W, palette: Palette, is_quiet: bool) -> Self {
        Self { out, palette, is_quiet, failures: Vec::new(), rows: Vec::new(), notes: Notes::default() }
    }

    /// Prints the failures, worst first.
    fn failures(&mut self) -> io::Result<()> {
        // Stable: within a verdict, path order stays.
        self.failures.sort_by_key(|(report, _)| std::cmp::Reverse(report.verdict));
        for (report, past) in &self.failures {
            failure(&mut self.out, self.palette, report, past.as_ref())?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    /// Prints the valid checkpoints.
    fn rows(&mut self) -> io::Result<()> {
        let Some(widest) = self.rows.iter().map(|row| row.format.as_str().len()).max() else { return Ok(()) };
        let (format, dim) = (widest.max(6), self.palette.dimmed());
        writeln!(
            self.out,
            "{dim}VERDICT  PASSED     {:format$}  {:>10}  {:>7}  INTEGRITY  PATH{dim:#}",
            "FORMAT", "SIZE", "TENSORS"
        )?;
        for row in &self.rows {
            line(&mut self.out, self.palette, row, format)?;
            for note in self.notes.apart(row) {
                writeln!(self.out, "         note: {note}")?;
            }
            if let Some(past) = &row.past {
                writeln!(self.out, "         {}", before(past))?;
            }
        }
        for (text, checkpoints) in self.notes.shared() {
            writeln!(self.out, "note on {checkpoints} checkpoints: {text}")?;
        }
        writeln!(self.out)
    }

    /// Prints the counts.
    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        let checkpoints = count(summary.checkpoints, "checkpoint");
        write!(self.out, "{checkpoints}, {}, in {}: ", size(summary.bytes), duration(summary.elapsed_ms))?;
        let mut separator = "";
        for (number, verdict) in summary.counts().into_iter().filter(|(number, _)| *number > 0) {
            let style = self.palette.verdict(verdict);
            write!(self.out, "{separator}{style}{number} {verdict}{style:#}")?;
            separator = ", ";
        }
        writeln!(self.out)
    }
}

impl<W: Write> Output for Table<W> {
    fn report(&mut self, report: Report, past: Option<&Past>) -> io::Result<()> {
        if !report.is_valid() {
            self.failures.push((report, past.cloned()));
        } else if !self.is_quiet {
            let notes = report.findings.iter().map(|finding| self.notes.add(finding)).collect();
            self.rows.push(Row {
                path: visible_path(&report.path),
                passed: report.passed,
                format: report.format,
                bytes: report.bytes,
                tensors: report.tensors,
                integrity: report.integrity,
                notes,
                past: past.cloned(),
            });
        }
        Ok(())
    }

    fn finish(&mut self, summary: &Summary, _: &[Error]) -> io::Result<()> {
        self.failures()?;
        if !self.is_quiet && summary.checkpoints > 0 {
            self.rows()?;
            self.summary(summary)?;
        }
        self.out.flush()
    }
}

/// Prints the line of a valid checkpoint.
fn line(out: &mut impl Write, palette: Palette, row: &Row, format: usize) -> io::Result<()> {
    let style = palette.verdict(Verdict::Valid);
    let passed = row.passed.map_or("none", Level::as_str);
    let tensors = row.tensors.map_or_else(|| "-".to_owned(), |tensors| tensors.to_string());
    writeln!(
        out,
        "{style}valid{style:#}    {passed:9}  {:format$}  {:>10}  {tensors:>7}  {:9}  {}",
        row.format,
        size(row.bytes),
        row.integrity.as_str(),
        row.path
    )
}

/// Prints a failure: what, where, why, and what to do.
pub(in crate::cli) fn failure(
    out: &mut impl Write,
    palette: Palette,
    report: &Report,
    past: Option<&Past>,
) -> io::Result<()> {
    let (style, dim) = (palette.verdict(report.verdict), palette.dimmed());
    let level = |level: Option<Level>| level.map_or("nothing", Level::as_str);
    writeln!(out, "{style}{}{style:#}  {}", report.verdict, visible_path(&report.path))?;
    let (format, bytes) = (report.format, size(report.bytes));
    let (checked, passed) = (level(report.level), level(report.passed));
    writeln!(out, "  {dim}{format}, {bytes}; checked to {checked}, passed {passed}{dim:#}")?;
    findings(out, report)?;
    for hint in hints(report) {
        writeln!(out, "  hint: {hint}")?;
    }
    if let Some(past) = past {
        writeln!(out, "  {}", before(past))?;
    }
    Ok(())
}

/// Writes the findings: what failed, gravest first, then the notes.
fn findings(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    for finding in findings.iter().take(FINDINGS_MAX) {
        let kind = if finding.is_failure() { "" } else { "note: " };
        writeln!(out, "  {kind}{}", described(finding))?;
    }
    match findings.len().saturating_sub(FINDINGS_MAX) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more: see --json"),
    }
}

/// Returns what to do, once for each kind of failure.
fn hints(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<Code> = Vec::new();
    for finding in report.findings.iter().filter(|finding| finding.is_failure()) {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    let mut hints: Vec<_> = codes.into_iter().filter_map(hints::for_code).collect();
    hints.dedup();
    hints
}

/// Returns a finding as text: code, message, place.
fn described(finding: &Finding) -> String {
    let mut text = format!("{}: {}", finding.code, visible(&finding.message));
    let place = place(&finding.at);
    if !place.is_empty() {
        text.push_str(" (");
        text.push_str(&place);
        text.push(')');
    }
    text
}

/// Returns where a finding lies; empty where it says nothing of that.
fn place(at: &Place) -> String {
    let named =
        |kind: &str, name: &Option<String>| name.as_deref().map(|name| format!("{kind} {}", visible(name)));
    let parts = [
        at.file.as_ref().map(|file| format!("file {}", visible_path(file))),
        named("record", &at.record),
        named("tensor", &at.tensor),
        named("key", &at.key),
        at.offset.map(|offset| format!("offset {offset}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns what earlier runs found.
fn before(past: &Past) -> String {
    let times = count(past.count, "time");
    format!("failed before: {times}, last at {}: {}", past.last.at, visible(&past.last.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::PastFailure;

    fn report(path: &str, findings: impl IntoIterator<Item = Finding>) -> Report {
        let mut report = Report::new(path.into(), FormatKind::TorchZip, Some(Level::Load));
        report.bytes = 12 << 20;
        report.tensors = Some(3);
        report.integrity = Integrity::Full;
        report.add(findings);
        report
    }

    fn render(is_quiet: bool, reports: impl IntoIterator<Item = (Report, Option<Past>)>) -> String {
        let mut table = Table::new(Vec::new(), Palette { is_coloured: false }, is_quiet);
        let mut summary = Summary::default();
        for (report, past) in reports {
            summary.add(&report);
            table.report(report, past.as_ref()).unwrap();
        }
        table.finish(&summary, &[]).unwrap();
        String::from_utf8(table.out).unwrap()
    }

    fn damaged() -> Finding {
        Finding::corrupted(Code::ChecksumMismatch, Level::Load, "the bytes have CRC-32 1, the archive says 2")
            .at_record("archive/data/0\u{1b}[2J")
            .at_offset(64)
    }

    fn past() -> Past {
        let last = PastFailure {
            path: "b.pt".into(),
            reason: "corrupted checksum-mismatch: bytes".to_owned(),
            at: "2026-03-01T12:30:45Z".parse().unwrap(),
        };
        Past { count: 2, last }
    }

    #[test]
    fn the_worst_comes_first_with_its_place_hint_and_history() {
        let reports = [
            (report("a.pt", []), None),
            (
                report("b.pt", [damaged(), Finding::note(Code::DeviceTag, Level::Load, "saved from cuda:0")]),
                Some(past()),
            ),
            (
                report("c.pt", [Finding::incompatible(Code::KeyMissing, Level::Load, "no key 'optimizer'")]),
                None,
            ),
            (report("d\n.pt", [Finding::note(Code::DeviceTag, Level::Load, "saved from cuda:1")]), None),
        ];
        insta::assert_snapshot!(render(false, reports), @r#"
        corrupted  b.pt
          torch-zip, 12.0 MiB; checked to load, passed container
          checksum-mismatch: the bytes have CRC-32 1, the archive says 2 (record archive/data/0\u{1b}[2J, offset 64)
          note: device-tag: saved from cuda:0
          hint: the bytes changed after they were saved, and loading would not notice: restore the file from a copy, or resume from an earlier checkpoint
          failed before: 2 times, last at 2026-03-01T12:30:45Z: corrupted checksum-mismatch: bytes

        incompatible  c.pt
          torch-zip, 12.0 MiB; checked to load, passed container
          key-missing: no key 'optimizer'
          hint: it is a checkpoint of another model, or of another version of it: `ckpt info` lists what it has

        VERDICT  PASSED     FORMAT           SIZE  TENSORS  INTEGRITY  PATH
        valid    load       torch-zip    12.0 MiB        3  full       a.pt
        valid    load       torch-zip    12.0 MiB        3  full       d\n.pt
                 note: device-tag: saved from cuda:1

        4 checkpoints, 48.0 MiB, in 0 ms: 1 corrupted, 1 incompatible, 2 valid
        "#);
    }

    #[test]
    fn a_note_of_many_is_shown_once() {
        let note = || Finding::note(Code::NoChecksums, Level::Load, "the format has none");
        let reports = (0..5).map(|number| (report(&format!("{number}.pt"), [note()]), None));
        let text = render(false, reports);
        assert_eq!(text.matches("the format has none").count(), 1);
        assert!(text.contains("note on 5 checkpoints: no-checksums"), "{text}");
    }

    #[test]
    fn quiet_prints_failures_only() {
        assert_eq!(render(true, [(report("a.pt", []), None)]), "");
        let text = render(true, [(report("a.pt", []), None), (report("b.pt", [damaged()]), None)]);
        assert!(text.starts_with("corrupted  b.pt\n") && !text.contains("a.pt"), "{text}");
    }

    #[test]
    fn a_flood_of_findings_is_cut() {
        let text = render(false, [(report("a.pt", (0..40).map(|_| damaged())), None)]);
        assert_eq!(text.matches("checksum-mismatch:").count(), FINDINGS_MAX);
        assert!(text.contains("and 28 more"), "{text}");
    }
}
