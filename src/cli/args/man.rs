use clap::Args;

/// Prints the manual page, in roff.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  ckpt man verify | man -l -")]
pub(in crate::cli) struct ManArgs {
    /// The page of one command instead of the main page
    #[arg(value_name = "COMMAND", value_parser = ["verify", "info", "cp", "convert", "diff", "salvage", "seal", "scrub", "merge", "list", "latest", "prune", "pin", "unpin", "stage", "stage-run", "stage-status", "stage-approve", "stage-reset", "stage-cleanup", "features", "completions", "man"])]
    pub(in crate::cli) command: Option<String>,
}
