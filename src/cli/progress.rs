//! Progress, on a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{OutputArgs, VerifyArgs};
use super::text;
use crate::validate::{Candidate, ProgressSink};

/// A bar over all bytes to check; where those aren't known or not read, over the checkpoints.
/// Nothing where stderr is no terminal.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    is_by_bytes: bool,
    /// Whether reports are printed to the same terminal while the bar is there.
    is_interleaved: bool,
    failures: u64,
}

impl Progress {
    /// Shows a bar over this many bytes, if there is someone to see it.
    pub(super) fn over_bytes(bytes: u64, output: OutputArgs) -> Self {
        let is_shown = bytes > 0 && !output.quiet && !output.no_progress && std::io::stderr().is_terminal();
        let is_interleaved = std::io::stdout().is_terminal();
        Self { bar: is_shown.then(|| bar(bytes, true)), is_by_bytes: true, is_interleaved, failures: 0 }
    }

    /// Shows the bar of a verification, if there is someone to see it.
    pub(super) fn start(args: &VerifyArgs, candidates: &[Candidate]) -> Self {
        let bytes = candidates.iter().fold(0_u64, |sum, candidate| sum.saturating_add(candidate.bytes));
        let is_by_bytes = bytes > 0 && !args.skip_load;
        let is_shown = !args.quiet && !args.no_progress && std::io::stderr().is_terminal();
        let bar =
            is_shown.then(|| bar(if is_by_bytes { bytes } else { candidates.len() as u64 }, is_by_bytes));
        let is_interleaved = (args.json || args.ndjson) && std::io::stdout().is_terminal();
        Self { bar, is_by_bytes, is_interleaved, failures: 0 }
    }

    /// Returns where the checks tell of bytes; none where nobody would see it.
    pub(super) fn sink(&self) -> Option<ProgressSink> {
        let bar = self.bar.clone().filter(|_| self.is_by_bytes)?;
        Some(ProgressSink::new(move |bytes| bar.inc(bytes)))
    }

    /// Counts a report, and runs `print` with the bar out of its way.
    pub(super) fn report<R>(&mut self, is_valid: bool, print: impl FnOnce() -> R) -> R {
        let Some(bar) = &self.bar else { return print() };
        if !self.is_by_bytes {
            bar.inc(1);
        }
        if !is_valid {
            self.failures += 1;
            bar.set_message(format!(", {}", text::count(self.failures, "failure")));
        }
        if self.is_interleaved { bar.suspend(print) } else { print() }
    }
}

/// Takes the bar away.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Makes a bar of this length, in bytes or in checkpoints.
fn bar(length: u64, is_by_bytes: bool) -> ProgressBar {
    let template = if is_by_bytes {
        "{bar:32} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left{msg}"
    } else {
        "{bar:32} {pos}/{len} checkpoints, {eta} left{msg}"
    };
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
