use std::path::PathBuf;

use clap::Args;

use super::values::levels;
use crate::record::Level;
use crate::validate::Requirement;

const VERIFY_HELP: &str = "\
Levels, each including those before it:
  size       exists, is a regular file, isn't empty, has the size its marker names
  container  the ZIP directory or the safetensors header: costs the header, not the data
  load       every tensor resolves, every byte that has a checksum is checked
  keys       the required keys, dtypes and shapes are there

Verdicts:
  valid         everything that was asked for passed
  corrupted     the bytes are damaged
  incompatible  the bytes are fine, and this reader or this model can't use them
  unreadable    the check could not run: permission, I/O error

Exit codes:
  0    all checkpoints are valid
  1    at least one is not
  2    wrong usage, or what was asked for can't be done
  3    a named directory is itself the problem: missing, unreadable, nothing found
  141  the reader of the output went away before the end

Examples:
  ckpt verify runs/                          every checkpoint below runs/
  ckpt verify last.pt --require 'model.*'    one file, with the keys that a resume needs
  ckpt verify runs/ --like good.pt           the names, dtypes and shapes of another checkpoint
  ckpt verify runs/ --skip-checkpoint-validation
                                             presence, size and marker only: thousands a second
  ckpt verify runs/ --ndjson | jq -r 'select(.verdict != \"valid\").path'";

/// Checks checkpoints: valid, corrupted, incompatible, and why.
///
/// Directories are searched recursively. Candidates are files with a checkpoint's extension (.pt,
/// .pth, .bin, .ckpt, .safetensors, .pt2, .ot), shard indexes (*.index.json), directories of Hugging
/// Face Trainer and of managed checkpoints (step-NUMBER), and every other file that begins like a checkpoint. Hidden and temporary files are
/// passed over. A file that is named is always checked.
#[derive(Debug, Args)]
#[command(after_long_help = VERIFY_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in crate::cli) struct VerifyArgs {
    /// Files and directories to check
    #[arg(required = true, value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,

    /// How deep to check [default: load; keys where keys are asked for]
    #[arg(long, value_parser = levels(), help_heading = "What is checked")]
    pub(in crate::cli) level: Option<Level>,

    /// Stop before the load level: sizes and containers only
    #[arg(long, conflicts_with = "level", help_heading = "What is checked")]
    pub(in crate::cli) skip_load: bool,

    /// The fast path: presence, size and completion marker only
    ///
    /// No checkpoint is opened, and candidates are found by name. The reports say that contents were
    /// not checked.
    #[arg(
        long,
        conflicts_with_all = ["level", "require", "require_file", "like", "compat"],
        help_heading = "What is checked"
    )]
    pub(in crate::cli) skip_checkpoint_validation: bool,

    #[arg(
        long,
        help = "A key that every checkpoint must have: 'data', 'model.*', 'w:f32[768,*]'",
        value_name = "KEY",
        value_parser = str::parse::<Requirement>,
        conflicts_with = "skip_load",
        help_heading = "What is checked"
    )]
    pub(in crate::cli) require: Vec<Requirement>,

    /// A file with required keys, one to a line
    #[arg(long, value_name = "FILE", conflicts_with = "skip_load", help_heading = "What is checked")]
    pub(in crate::cli) require_file: Vec<PathBuf>,

    /// Require the names, dtypes and shapes of this checkpoint
    #[arg(long, value_name = "REF", conflicts_with = "skip_load", help_heading = "What is checked")]
    pub(in crate::cli) like: Option<PathBuf>,

    /// Make a missing completion marker (NAME.done) a failure
    #[arg(long, help_heading = "What is checked")]
    pub(in crate::cli) require_marker: bool,

    /// Accept this global in a pickle, as data; still nothing is executed
    #[arg(long, value_name = "MODULE.NAME", help_heading = "What is checked")]
    pub(in crate::cli) allow_global: Vec<String>,

    /// Apply the version and status rules to files that ckpt didn't write
    #[arg(long, conflicts_with = "skip_load", help_heading = "What is checked")]
    pub(in crate::cli) compat: bool,

    /// Print one JSON document
    #[arg(long, conflicts_with = "ndjson", help_heading = "Output")]
    pub(in crate::cli) json: bool,

    /// Print a JSON report per line, as soon as its turn has come
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) ndjson: bool,

    /// Also write a JUnit report to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(in crate::cli) junit: Option<PathBuf>,

    /// Append failures to `failed_checkpoints.txt` in the directory: path|reason|timestamp
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) log_failures: bool,

    /// Print failures only, and no progress
    #[arg(short, long, help_heading = "Output")]
    pub(in crate::cli) quiet: bool,

    /// Show no progress, even on a terminal
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) no_progress: bool,

    /// The number of threads, over files and inside large ones [default: one per core, at most 8]
    #[arg(short, long, visible_alias = "threads", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(in crate::cli) jobs: Option<u16>,
}
