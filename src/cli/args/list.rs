use std::path::PathBuf;

use clap::Args;

use super::StandingArgs;

const LIST_HELP: &str = "\
Standing:
  good         it passes the check now, and was read back and verified when it was saved; or it
               passes `--level load` now, which reads every byte
  unverified   nobody knows: it was saved without a check, or can't be read here
  bad          its bytes are damaged, or a part of it is missing
  in-flight    it is being saved, or a process was killed while it saved it

Exit codes:
  0    the checkpoints were listed, whatever they are
  2    wrong usage, or what was asked for can't be done
  3    there is no run in the directory
  141  the reader of the output went away before the end

Examples:
  ckpt list runs/a
  ckpt list runs/a --level load              every byte is read: also of those saved without a check
  ckpt list runs/a --json | jq '.checkpoints[] | select(.standing == \"bad\")'";

/// Lists the checkpoints of a run, oldest first, with what is known of them.
#[derive(Debug, Args)]
#[command(after_long_help = LIST_HELP)]
pub(in crate::cli) struct ListArgs {
    /// The run's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) standing: StandingArgs,

    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) json: bool,
}
