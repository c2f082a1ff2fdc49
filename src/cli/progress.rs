//! Progress, on a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::VerifyArgs;
use crate::validate::{Candidate, ProgressSink};

/// A bar over all bytes to check; where those aren't known or not read, over the checkpoints.
/// Silent where stderr is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    is_by_bytes: bool,
}

impl Progress {
    pub(super) fn start(args: &VerifyArgs, candidates: &[Candidate]) -> Self {
        let bytes = candidates.iter().fold(0_u64, |sum, candidate| sum.saturating_add(candidate.bytes));
        let is_by_bytes = bytes > 0 && !args.skip_load;
        if args.quiet || args.no_progress || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), is_by_bytes };
        }
        let (length, template) = if is_by_bytes {
            (bytes, "{bar:32} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left")
        } else {
            (candidates.len() as u64, "{bar:32} {pos}/{len} checkpoints, {eta} left")
        };
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, is_by_bytes }
    }

    /// Returns where the checks tell of bytes; none where nobody would see it.
    pub(super) fn sink(&self) -> Option<ProgressSink> {
        let bar = self.bar.clone();
        (self.is_by_bytes && !bar.is_hidden()).then(|| ProgressSink::new(move |bytes| bar.inc(bytes)))
    }

    /// Counts a report, and runs `print` with the bar out of its way.
    pub(super) fn report<R>(&self, print: impl FnOnce() -> R) -> R {
        if !self.is_by_bytes {
            self.bar.inc(1);
        }
        if self.bar.is_hidden() { print() } else { self.bar.suspend(print) }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
