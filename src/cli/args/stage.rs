use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{amount, levels, value};
use crate::record::Level;

const STAGE_HELP: &str = "\
A pipeline's state is one JSON file, which `ckpt stage run` makes. Its stages are those that were run
with it, in the order in which each was run first; a stage that is done again has all later ones done
again. Each finished stage is a checkpoint in a directory beside the file (NAME.stages).

A script becomes resumable by `ckpt stage run` before each of its steps:
  set -e
  run() { ckpt stage run \"$1\" --pipeline work/pipeline.json \"${@:2}\"; }
  run extract --input genes.fa --output work/rows.bin -- ./extract genes.fa work/rows.bin
  run merge --input work/rows.bin --output work/merged.bin -- ./merge work/rows.bin work/merged.bin
  run predict --input work/merged.bin --output work/calls.tsv -- ./predict work/merged.bin work/calls.tsv

Exit codes are those of each command: see `ckpt stage run --help`.";

const RUN_HELP: &str = "\
The command is run when the stage isn't complete, when an output is gone or isn't what the stage left,
when an input has changed since, or when the command itself is another one. Otherwise it is skipped.
When it ends well, its outputs are made durable, their digests are taken, and the stage is complete;
an output that isn't there is an error. SIGINT, SIGTERM and SIGHUP are handed on to it; where it ends
well after one, nobody knows whether it was done, and the stage has failed.

Paths are those of the caller. In the state file, those below its directory are relative to it.

Exit codes:
  0    the stage is complete: the command ended well, or was skipped
  2    wrong usage, or what was asked for can't be done: another process is at work on the pipeline,
       an earlier stage isn't complete, the source or the configuration has changed, an output is
       missing
  4    the stage, or an earlier one, waits for its review: see `ckpt stage approve`
  126  the command can't be run
  127  there is no such command
  N    that of the command, where it failed; 128 + N where the signal N ended it

Examples:
  ckpt stage run merge --pipeline work/p.json --input a.pt --input b.pt --output ab.pt -- \\
      ckpt convert a.pt ab.pt
  ckpt stage run label --pipeline work/p.json --output labels.tsv --review -- ./label labels.tsv
  ckpt stage run extract --pipeline work/p.json --source genes.fa --config run.json --force-resume \\
      --temporary rows.bin -- ./extract genes.fa rows.bin";

const STATUS_HELP: &str = "\
Nothing is changed, and no output is looked at: that is done by the next `ckpt stage run`.

Exit codes:
  0    the state was shown, whatever it is
  1    the state file is damaged, or a later version of ckpt wrote it
  2    wrong usage, or the file can't be read
  3    there is no such file: nothing was run yet

Examples:
  ckpt stage status --pipeline work/p.json
  ckpt stage status --pipeline work/p.json --json | jq -r '.stages[] | select(.status == \"failed\").error'";

const APPROVE_HELP: &str = "\
The outputs of the stage are looked at anew. One that was edited is recorded with its digests before and
after, and the new one counts from then on. To have the stage done anew instead: `ckpt stage reset`.

Exit codes:
  0    approved: the next `ckpt stage run` goes on
  2    wrong usage, or what was asked for can't be done: the stage waits for no review, an output is
       gone
  3    there is no such file: nothing was run yet

Example:
  ckpt stage approve label --pipeline work/p.json --by ada --note \"two labels corrected\"";

const RESET_HELP: &str = "\
No output is deleted: the stages write over them.

Exit codes:
  0    the stage and all later ones are to be done anew
  2    wrong usage, or what was asked for can't be done
  3    there is no such file: nothing was run yet

Example:
  ckpt stage reset merge --pipeline work/p.json";

const CLEANUP_HELP: &str = "\
Without --apply nothing is removed: each output that is there is printed with what would become of it,
and why. Outputs that were named with --temporary go when all stages are complete, those that were named
with --intermediate when every stage that reads them is. What isn't as its stage left it stays.

Exit codes:
  0    done, or shown
  2    wrong usage, or what was asked for can't be done
  3    there is no such file: nothing was run yet

Examples:
  ckpt stage cleanup --pipeline work/p.json
  ckpt stage cleanup --pipeline work/p.json --apply";

/// Makes a script's steps resumable: each is done once, and what it left is proven.
#[derive(Debug, Args)]
#[command(after_long_help = STAGE_HELP)]
pub(in crate::cli) struct StageArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: StageCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StageCommand {
    Run(Box<StageRunArgs>),
    Status(StageStatusArgs),
    Approve(StageApproveArgs),
    Reset(StageResetArgs),
    Cleanup(StageCleanupArgs),
}

/// Runs a command, unless its stage is complete, and records what it read and left.
#[derive(Debug, Args)]
#[command(after_long_help = RUN_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in crate::cli) struct StageRunArgs {
    /// The stage's name
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,

    /// The pipeline's state file; made where there is none
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) pipeline: PathBuf,

    /// A file or directory that the command reads; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "What it reads and leaves")]
    pub(in crate::cli) input: Vec<PathBuf>,

    /// A file or directory that the command leaves; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "What it reads and leaves")]
    pub(in crate::cli) output: Vec<PathBuf>,

    /// An output that may go when all stages are complete (`ckpt stage cleanup`); may be repeated
    #[arg(long, value_name = "PATH", help_heading = "What it reads and leaves")]
    pub(in crate::cli) temporary: Vec<PathBuf>,

    /// An output that may go when every stage that reads it is complete; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "What it reads and leaves")]
    pub(in crate::cli) intermediate: Vec<PathBuf>,

    /// A value to record, as JSON or else as text; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = value, help_heading = "What it reads and leaves")]
    pub(in crate::cli) value: Vec<(String, serde_json::Value)>,

    /// What it costs, as a number; may be repeated
    #[arg(long, value_name = "NAME=AMOUNT", value_parser = amount, help_heading = "What it reads and leaves")]
    pub(in crate::cli) cost: Vec<(String, f64)>,

    /// Stop behind this stage until it is approved
    #[arg(long)]
    pub(in crate::cli) review: bool,

    /// What the pipeline is made from: where that has changed, the state is stale
    #[arg(long, value_name = "PATH", help_heading = "Stale states")]
    pub(in crate::cli) source: Option<PathBuf>,

    /// The pipeline's configuration, a JSON file: where that has changed, the state is stale
    #[arg(long, value_name = "FILE", help_heading = "Stale states")]
    pub(in crate::cli) config: Option<PathBuf>,

    /// Do all stages anew: meant for the first stage of a script
    #[arg(long, conflicts_with = "force_resume", help_heading = "Stale states")]
    pub(in crate::cli) force_restart: bool,

    /// Go on with a stale state
    #[arg(long, help_heading = "Stale states")]
    pub(in crate::cli) force_resume: bool,

    /// How deep the outputs of a complete stage are looked at [default: container]
    #[arg(long, value_parser = levels())]
    pub(in crate::cli) level: Option<Level>,

    /// Say nothing of what is skipped or run
    #[arg(short, long, help_heading = "Output")]
    pub(in crate::cli) quiet: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(in crate::cli) command: Vec<OsString>,
}

/// Shows how far a pipeline is.
#[derive(Debug, Args)]
#[command(after_long_help = STATUS_HELP)]
pub(in crate::cli) struct StageStatusArgs {
    /// The pipeline's state file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) pipeline: PathBuf,

    /// Print the state as one JSON document
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) json: bool,
}

/// Lets a pipeline go on behind a stage that waits for its review.
#[derive(Debug, Args)]
#[command(after_long_help = APPROVE_HELP)]
pub(in crate::cli) struct StageApproveArgs {
    /// The stage's name
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,

    /// The pipeline's state file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) pipeline: PathBuf,

    /// Who approves it
    #[arg(long, value_name = "WHO")]
    pub(in crate::cli) by: Option<String>,

    /// What there is to say about it
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) note: Option<String>,
}

/// Has a stage, and all later ones, done anew.
#[derive(Debug, Args)]
#[command(after_long_help = RESET_HELP)]
pub(in crate::cli) struct StageResetArgs {
    /// The stage's name
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,

    /// The pipeline's state file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) pipeline: PathBuf,
}

/// Removes outputs that aren't needed any more; without --apply, shows which.
#[derive(Debug, Args)]
#[command(after_long_help = CLEANUP_HELP)]
pub(in crate::cli) struct StageCleanupArgs {
    /// The pipeline's state file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) pipeline: PathBuf,

    /// Do it
    #[arg(long)]
    pub(in crate::cli) apply: bool,

    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) json: bool,
}
