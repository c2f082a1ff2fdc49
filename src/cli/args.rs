//! What can be asked for.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::record::Level;
use crate::validate::Requirement;

/// Proves a checkpoint good.
///
/// Reads PyTorch and safetensors checkpoints the way their frameworks would, executes nothing of
/// them, and says of each whether it can be used, and if not, whether it is corrupted or
/// incompatible, at which level, and why.
#[derive(Debug, Parser)]
#[command(name = "ckpt", version, propagate_version = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Verify(VerifyArgs),
    Info(InfoArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

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
/// .pth, .bin, .ckpt, .safetensors, .pt2, .ot), shard indexes (*.index.json), Hugging Face Trainer
/// directories, and every other file that begins like a checkpoint. Hidden and temporary files are
/// passed over. A file that is named is always checked.
#[derive(Debug, Args)]
#[command(after_long_help = VERIFY_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct VerifyArgs {
    /// Files and directories to check
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,

    /// How deep to check [default: load; keys where keys are asked for]
    #[arg(long, value_parser = levels(), help_heading = "What is checked")]
    pub(super) level: Option<Level>,

    /// Stop before the load level: sizes and containers only
    #[arg(long, conflicts_with = "level", help_heading = "What is checked")]
    pub(super) skip_load: bool,

    /// The fast path: presence, size and completion marker only
    ///
    /// No checkpoint is opened, and candidates are found by name. The reports say that contents were
    /// not checked.
    #[arg(
        long,
        conflicts_with_all = ["level", "require", "require_file", "like", "compat"],
        help_heading = "What is checked"
    )]
    pub(super) skip_checkpoint_validation: bool,

    #[arg(
        long,
        help = "A key that every checkpoint must have: 'data', 'model.*', 'w:f32[768,*]'",
        value_name = "KEY",
        value_parser = str::parse::<Requirement>,
        conflicts_with = "skip_load",
        help_heading = "What is checked"
    )]
    pub(super) require: Vec<Requirement>,

    /// A file with required keys, one to a line
    #[arg(long, value_name = "FILE", conflicts_with = "skip_load", help_heading = "What is checked")]
    pub(super) require_file: Vec<PathBuf>,

    /// Require the names, dtypes and shapes of this checkpoint
    #[arg(long, value_name = "REF", conflicts_with = "skip_load", help_heading = "What is checked")]
    pub(super) like: Option<PathBuf>,

    /// Make a missing completion marker (NAME.done) a failure
    #[arg(long, help_heading = "What is checked")]
    pub(super) require_marker: bool,

    /// Accept this global in a pickle, as data; still nothing is executed
    #[arg(long, value_name = "MODULE.NAME", help_heading = "What is checked")]
    pub(super) allow_global: Vec<String>,

    /// Apply the version and status rules to files that ckpt didn't write
    #[arg(long, conflicts_with = "skip_load", help_heading = "What is checked")]
    pub(super) compat: bool,

    /// Print one JSON document
    #[arg(long, conflicts_with = "ndjson", help_heading = "Output")]
    pub(super) json: bool,

    /// Print a JSON report per line, as soon as its turn has come
    #[arg(long, help_heading = "Output")]
    pub(super) ndjson: bool,

    /// Also write a JUnit report to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) junit: Option<PathBuf>,

    /// Append failures to `failed_checkpoints.txt` in the directory: path|reason|timestamp
    #[arg(long, help_heading = "Output")]
    pub(super) log_failures: bool,

    /// Print failures only, and no progress
    #[arg(short, long, help_heading = "Output")]
    pub(super) quiet: bool,

    /// Show no progress, even on a terminal
    #[arg(long, help_heading = "Output")]
    pub(super) no_progress: bool,

    /// The number of threads, over files and inside large ones [default: one per core, at most 8]
    #[arg(short, long, visible_alias = "threads", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
}

/// Shows what a checkpoint says of itself: format, version, status, tensors.
///
/// Costs the header, not the data: milliseconds on a file of many gigabytes. Nothing is checked
/// beyond what reading the structure needs; for that, see `ckpt verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "Exit codes:\n  0  shown\n  1  it can't be read\n  2  wrong usage")]
pub(super) struct InfoArgs {
    /// The checkpoint
    #[arg(value_name = "FILE")]
    pub(super) path: PathBuf,

    /// Print a JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// Prints the completions of a shell.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  ckpt completions bash > ~/.local/share/bash-completion/completions/ckpt"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: Shell,
}

/// Prints the manual page, in roff.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  ckpt man verify | man -l -")]
pub(super) struct ManArgs {
    /// The page of one command instead of the main page
    #[arg(value_name = "COMMAND", value_parser = ["verify", "info", "completions", "man"])]
    pub(super) command: Option<String>,
}

fn levels() -> impl clap::builder::TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::ALL.map(Level::as_str)).try_map(|word| word.parse::<Level>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_man_argument_knows_every_command() {
        let commands: Vec<_> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for command in commands {
            assert!(Cli::try_parse_from(["ckpt", "man", &command]).is_ok(), "{command}");
        }
    }
}
