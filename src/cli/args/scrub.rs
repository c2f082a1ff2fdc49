use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{bytes, duration};
use super::{CheckArgs, OutputArgs};

const SCRUB_HELP: &str = "\
Order: what was never verified comes first, then what was verified longest ago. A file whose size
or time of modification changed, or that took another's place, counts as never verified. Checkpoints
are read around the page cache, so that the medium is what is tested.

A file without proof, checksums or seal is read as well: that its bytes can be read is shown, and
that they are those of the last time; what they were before that, only a seal could tell.

The memory is a JSON file. It is written after each checkpoint, at most once a second, and a run
that is killed loses no more than that. One scrub at a time uses it: a second one is refused.

Exit codes:
  0    all that was checked is valid, and no other checkpoint is known not to be
  1    at least one is not
  2    wrong usage, or what was asked for can't be done: another scrub is at work, say
  3    the directory is itself the problem: missing, unreadable, nothing found
  141  the reader of the output went away before the end

Examples:
  ckpt scrub /checkpoints --for 30m --older-than 7d
                                             a nightly job: each checkpoint about once a week
  ckpt scrub /checkpoints --rate 20M --max-bytes 500G
                                             gently, and no more than this much today
  ckpt scrub /checkpoints --memory ~/scrub.json
                                             where the directory itself can't be written";

/// Verifies again what was verified longest ago, at a bounded rate, and remembers.
///
/// For checkpoints that are kept: storage loses bits in silence, and the copy to restore from is
/// gone by the time that somebody loads the file. Made to be run again and again.
#[derive(Debug, Args)]
#[command(after_long_help = SCRUB_HELP)]
pub(in crate::cli) struct ScrubArgs {
    /// The directory, searched as `ckpt verify` does
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// Read at most this many bytes a second [default: 100MiB]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(in crate::cli) rate: Option<u64>,

    /// Begin no checkpoint that wouldn't be done by then; the first is always begun
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) time: Option<Duration>,

    /// Begin no checkpoint that goes beyond this many bytes; the first is always begun
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(in crate::cli) max_bytes: Option<u64>,

    /// Pass over what was verified more recently
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) older_than: Option<Duration>,

    /// Where to remember [default: .ckpt-scrub.json in the directory]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) memory: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) check: CheckArgs,

    /// Print a JSON report per line, as soon as it is there
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub(in crate::cli) ndjson: bool,

    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
