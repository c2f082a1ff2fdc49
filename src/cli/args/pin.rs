use std::path::PathBuf;

use clap::Args;

use crate::record::CheckpointId;

/// Keeps a checkpoint whatever the rules of `ckpt prune` say.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  ckpt pin runs/a step-0000001200 \"table 2 of the paper was made with it\""
)]
pub(in crate::cli) struct PinArgs {
    /// The run's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// The checkpoint's name
    #[arg(value_name = "ID")]
    pub(in crate::cli) id: CheckpointId,

    /// Why, for those who come after
    #[arg(value_name = "REASON", default_value = "")]
    pub(in crate::cli) reason: String,
}

/// Takes a checkpoint's pin away.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  ckpt unpin runs/a step-0000001200")]
pub(in crate::cli) struct UnpinArgs {
    /// The run's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// The checkpoint's name
    #[arg(value_name = "ID")]
    pub(in crate::cli) id: CheckpointId,
}
