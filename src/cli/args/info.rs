use std::path::PathBuf;

use clap::Args;

/// Shows what a checkpoint says of itself: format, version, status, tensors.
///
/// Costs the header, not the data: milliseconds on a file of many gigabytes. Nothing is checked
/// beyond what reading the structure needs; for that, see `ckpt verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "Exit codes:\n  0  shown\n  1  it can't be read\n  2  wrong usage")]
pub(in crate::cli) struct InfoArgs {
    /// The checkpoint
    #[arg(value_name = "FILE")]
    pub(in crate::cli) path: PathBuf,

    /// Print a JSON document
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
