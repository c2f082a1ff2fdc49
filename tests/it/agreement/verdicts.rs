//! Tables of expected verdicts, each entry with its reason.

use std::cell::Cell;

use ckpt::{Code, Report, Verdict};
use globset::{Glob, GlobMatcher};

/// What ckpt says of some files, and why it differs from what the framework says, or what its refusal
/// is to be called.
pub(crate) struct Expected {
    /// A pattern over the files' names; `*` spans folders.
    pub(crate) files: &'static str,
    pub(crate) verdict: Verdict,
    /// The code of the finding that decides, or of the note that a valid file must have.
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
}

/// Makes a table of entries `pattern => verdict code: reason`.
macro_rules! expected {
    ($($files:literal => $verdict:ident $code:ident: $reason:literal,)*) => {
        &[$($crate::agreement::verdicts::Expected {
            files: $files,
            verdict: ckpt::Verdict::$verdict,
            code: ckpt::Code::$code,
            reason: $reason,
        }),*]
    };
}
pub(crate) use expected;

/// A table in use: it knows which of its entries applied.
pub(crate) struct Table(Vec<(GlobMatcher, &'static Expected, Cell<usize>)>);

impl Table {
    pub(crate) fn new(entries: &'static [Expected]) -> Self {
        let matcher = |entry: &Expected| {
            Glob::new(entry.files).expect("the table's patterns are globs").compile_matcher()
        };
        Self(entries.iter().map(|entry| (matcher(entry), entry, Cell::new(0))).collect())
    }

    /// Finds the first entry for a file.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Expected> {
        let (_, entry, uses) = self.0.iter().find(|(matcher, _, _)| matcher.is_match(name))?;
        uses.set(uses.get() + 1);
        Some(entry)
    }

    /// The entries that no file needed.
    pub(crate) fn unused(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, _, uses)| uses.get() == 0).map(|(_, entry, _)| entry.files).collect()
    }
}

/// Holds a report against what is expected: of a file that its framework loads (`loads`) that it is
/// valid without further ado, of every other one what the table says.
pub(crate) fn check(name: &str, report: &Report, loads: bool, table: &Table) -> Result<(), String> {
    let said = || match report.reason() {
        Some(finding) => format!("{} {}: {}", report.verdict, finding.code, finding.message),
        None => format!("{} with {:?}", report.verdict, notes(report).collect::<Vec<_>>()),
    };
    let Some(expected) = table.find(name) else {
        if !loads {
            return Err(format!(
                "{name}: its framework refuses it, and no entry says what ckpt does; it is {}",
                said()
            ));
        }
        let fine = report.is_valid() && notes(report).all(|code| code != Code::TorchRefuses);
        return if fine { Ok(()) } else { Err(format!("{name}: its framework loads it; ckpt: {}", said())) };
    };
    let agrees = match expected.verdict {
        Verdict::Valid => report.is_valid() && notes(report).any(|code| code == expected.code),
        verdict => {
            let code = report.reason().map(|finding| finding.code);
            report.verdict == verdict && code == Some(expected.code)
        }
    };
    if agrees {
        return Ok(());
    }
    let Expected { verdict, code, reason, .. } = expected;
    Err(format!("{name}: expected {verdict} {code} ({reason}); ckpt: {}", said()))
}

fn notes(report: &Report) -> impl Iterator<Item = Code> {
    report.findings.iter().filter(|finding| !finding.is_failure()).map(|finding| finding.code)
}
