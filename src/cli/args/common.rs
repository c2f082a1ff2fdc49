//! What several commands have alike.

use clap::Args;

use super::values::levels;
use crate::record::Level;
use crate::validate::VerifyOptions;

/// What is printed, and where to.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct OutputArgs {
    /// Print one JSON document
    #[arg(long)]
    pub(in crate::cli) json: bool,

    /// Print failures only, and no progress
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,

    /// Show no progress, even on a terminal
    #[arg(long)]
    pub(in crate::cli) no_progress: bool,
}

/// How checkpoints are verified on the way.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is checked")]
pub(in crate::cli) struct CheckArgs {
    /// How deep to check [default: load]
    #[arg(long, value_parser = levels())]
    pub(in crate::cli) level: Option<Level>,

    /// Accept this global in a pickle, as data; still nothing is executed
    #[arg(long, value_name = "MODULE.NAME")]
    pub(in crate::cli) allow_global: Vec<String>,

    /// The number of threads that read one large file [default: one per core, at most 8]
    #[arg(short, long, visible_alias = "threads", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = None::<&str>)]
    pub(in crate::cli) jobs: Option<u16>,
}

/// How the standing of a run's checkpoints is found out.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is checked")]
pub(in crate::cli) struct StandingArgs {
    /// How deep to check now [default: container, and that it was verified when it was saved]
    #[arg(long, value_parser = levels())]
    pub(in crate::cli) level: Option<Level>,

    /// Accept this global in a pickle, as data; still nothing is executed
    #[arg(long, value_name = "MODULE.NAME")]
    pub(in crate::cli) allow_global: Vec<String>,
}

impl StandingArgs {
    /// Returns the options of the check.
    pub(in crate::cli) fn options(&self) -> VerifyOptions {
        let mut options = VerifyOptions::default().with_level(self.level.unwrap_or(Level::Container));
        options.allowed_globals.clone_from(&self.allow_global);
        options
    }
}

impl CheckArgs {
    /// Returns the options of the check.
    pub(in crate::cli) fn options(&self) -> VerifyOptions {
        let mut options = VerifyOptions::default();
        options.level = self.level.unwrap_or(options.level);
        options.allowed_globals.clone_from(&self.allow_global);
        options.threads = self.jobs.map_or(options.threads, usize::from);
        options
    }
}
