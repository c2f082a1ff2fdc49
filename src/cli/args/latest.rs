use std::path::PathBuf;

use clap::Args;

use super::values::levels;
use crate::record::Level;

const LATEST_HELP: &str = "\
The checkpoints are tried from the newest on, as a training that resumes does. Unfinished and damaged
ones are passed over, and named on stderr. One that is sound and can't be used here, or can't be read,
ends the search with exit code 1: passing over it would silently drop what was done since the one
before; `--force` goes on.

Exit codes:
  0    the path of a checkpoint was printed
  1    there are checkpoints, and none that may be resumed from
  2    wrong usage, or what was asked for can't be done
  3    there is none: the work begins anew

Example:
  checkpoint=$(ckpt latest runs/a); code=$?
  case $code in
    0) train --resume \"$checkpoint\" ;;
    3) train ;;
    *) exit $code ;;
  esac";

/// Prints the path of the newest checkpoint of a run that passes, and nothing else.
#[derive(Debug, Args)]
#[command(after_long_help = LATEST_HELP)]
pub(in crate::cli) struct LatestArgs {
    /// The run's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// How deep to check [default: load]
    #[arg(long, value_parser = levels(), help_heading = "What is checked")]
    pub(in crate::cli) level: Option<Level>,

    /// Accept this global in a pickle, as data; still nothing is executed
    #[arg(long, value_name = "MODULE.NAME", help_heading = "What is checked")]
    pub(in crate::cli) allow_global: Vec<String>,

    /// Pass over what is sound and can't be used or read here, as well
    #[arg(long)]
    pub(in crate::cli) force: bool,

    /// Say nothing of those that are passed over
    #[arg(short, long, help_heading = "Output")]
    pub(in crate::cli) quiet: bool,
}
