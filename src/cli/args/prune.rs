use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::StandingArgs;
use super::values::duration;
use crate::manager::retention::{Best, Every, Policy, Rule};

const PRUNE_HELP: &str = "\
Without --apply nothing is removed: each checkpoint is printed with what would become of it, and why.

A checkpoint that any rule keeps is kept. Only good ones count (`ckpt list` has what that is): those
that are unverified or in flight take nobody's place, and are never removed. The newest good one stays
whatever the rules say, and so do pinned ones (`ckpt pin`).

Exit codes:
  0    done, or shown
  2    wrong usage, or what was asked for can't be done: another process writes to the run, say
  3    there is no run in the directory
  141  the reader of the output went away before the end

Examples:
  ckpt prune runs/a --keep-last 3 --keep-best val_loss:min:2 --keep-every 1000
  ckpt prune runs/a --keep-last 3 --keep-every 6h --apply
  ckpt prune runs/a --keep-last 1 --remove-damaged --level load --apply";

/// Removes checkpoints of a run that no rule keeps; without --apply, shows which.
#[derive(Debug, Args)]
#[command(after_long_help = PRUNE_HELP)]
pub(in crate::cli) struct PruneArgs {
    /// The run's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// Keep the newest ones, this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "What is kept")]
    pub(in crate::cli) keep_last: Option<u64>,

    /// Keep the first of every so many steps (1000) or so long a time (6h); may be repeated
    #[arg(long, value_name = "STEPS|TIME", value_parser = str::parse::<Every>, help_heading = "What is kept")]
    pub(in crate::cli) keep_every: Vec<Every>,

    /// Keep what isn't older than the newest good one by more than this
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "What is kept")]
    pub(in crate::cli) keep_within: Option<Duration>,

    #[arg(
        long,
        help = "Keep the best by a metric: val_loss:min:2, accuracy:max; may be repeated",
        value_name = "METRIC:min|max[:N]",
        value_parser = str::parse::<Best>, help_heading = "What is kept")]
    pub(in crate::cli) keep_best: Vec<Best>,

    /// Remove damaged ones as well, where a newer one is good
    #[arg(long)]
    pub(in crate::cli) remove_damaged: bool,

    /// Do it
    #[arg(long)]
    pub(in crate::cli) apply: bool,

    #[command(flatten)]
    pub(in crate::cli) standing: StandingArgs,

    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) json: bool,
}

impl PruneArgs {
    /// Returns the rules.
    pub(in crate::cli) fn policy(&self) -> Policy {
        let rules = self.keep_last.map(Rule::Last).into_iter();
        let rules = rules.chain(self.keep_every.iter().copied().map(Rule::Every));
        let rules = rules.chain(self.keep_within.map(Rule::Within));
        let rules = rules.chain(self.keep_best.iter().cloned().map(Rule::Best));
        rules.fold(Policy::default(), Policy::with_rule).remove_damaged(self.remove_damaged)
    }
}
