//! JUnit XML, which CI systems show: a test case per checkpoint.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Output, Past, Summary};
use crate::cli::text::{visible, visible_path};
use crate::error::Error;
use crate::record::{Finding, Report, Verdict};

/// Collects test cases beside another output, and writes them at the end.
pub(super) struct JUnit {
    file: BufWriter<File>,
    path: PathBuf,
    suite: TestSuite,
    beside: Box<dyn Output>,
}

impl JUnit {
    /// Creates the file at once: a path that can't be written is to be known before the work.
    pub(super) fn create(path: &Path, beside: Box<dyn Output>) -> Result<Self, Error> {
        #[expect(clippy::disallowed_methods, reason = "a report for a CI system, made anew by every run")]
        let file = File::create(path).map_err(|error| Error::io(path, "write the JUnit report", error))?;
        let suite = TestSuite::new("ckpt verify");
        Ok(Self { file: BufWriter::new(file), path: path.to_owned(), suite, beside })
    }

    /// Writes the file.
    fn write(&mut self, summary: &Summary) -> io::Result<()> {
        let mut report = quick_junit::Report::new("ckpt");
        report.set_time(Duration::from_millis(summary.elapsed_ms));
        self.suite.set_time(Duration::from_millis(summary.elapsed_ms));
        report.add_test_suite(self.suite.clone());
        report.serialize(&mut self.file).map_err(io::Error::other)?;
        self.file.flush()
    }
}

impl Output for JUnit {
    fn report(&mut self, report: Report, past: Option<&Past>) -> io::Result<()> {
        self.suite.add_test_case(case(&report));
        self.beside.report(report, past)
    }

    fn finish(&mut self, summary: &Summary, problems: &[Error]) -> io::Result<()> {
        for problem in problems {
            let path = problem.path().map(visible_path).unwrap_or_default();
            self.suite.add_test_case(failed(path, NonSuccessKind::Error, "directory", &problem.to_string()));
        }
        self.write(summary)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))?;
        self.beside.finish(summary, problems)
    }
}

/// Makes the test case of a report.
fn case(report: &Report) -> TestCase {
    let path = visible_path(&report.path);
    let mut case = match report.reason() {
        None => TestCase::new(path, TestCaseStatus::success()),
        Some(reason) => {
            let kind = match reason.verdict {
                Verdict::Unreadable => NonSuccessKind::Error,
                _ => NonSuccessKind::Failure,
            };
            failed(path, kind, reason.code.as_str(), &format!("{}: {}", reason.verdict, reason.message))
        }
    };
    case.set_classname(report.format.as_str());
    case.set_time(Duration::from_millis(report.elapsed_ms));
    if !report.findings.is_empty() {
        let lines: Vec<String> = report.findings.iter().map(describe).collect();
        case.set_system_out(lines.join("\n"));
    }
    case
}

/// Makes a test case that failed.
fn failed(name: String, kind: NonSuccessKind, code: &str, message: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(code).set_message(visible(message));
    TestCase::new(name, status)
}

/// Returns a finding as a line of text.
fn describe(finding: &Finding) -> String {
    format!("{} at level {}: {}: {}", finding.verdict, finding.level, finding.code, visible(&finding.message))
}
