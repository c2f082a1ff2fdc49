use std::path::PathBuf;

use clap::Args;

use super::{CheckArgs, OutputArgs, WriteArgs};

const CONVERT_HELP: &str = "\
Formats that are read:     safetensors; PyTorch's ZIP archive; PyTorch's format of before 1.6
Formats that are written:  safetensors; torch, which torch.load reads; torch-flat, a plain dict of
                           tensors, which tch and libtorch's C++ loader read as well

Names, dtypes, shapes, bytes, plain values, the sharing of storages, and the file's own metadata are
carried over. What the other format can't hold is named, and refused unless --lossy leaves it out.
Memory is bounded by the largest tensor.

Exit codes:
  0    converted
  1    the source is corrupted or of no use, or changed meanwhile
  2    wrong usage, or what was asked for can't be done

Examples:
  ckpt convert last.pt last.safetensors      the format by the extension
  ckpt convert model.safetensors model.pt --format torch-flat
                                             for tch and libtorch
  ckpt convert old.pt new.pt                 an old file, written anew, with a proof inside";

/// Converts a checkpoint from one format to another, verified and whole.
///
/// The source is verified first. The new file is read back from the device and verified before it takes
/// its name; until then, an existing file of that name stays as it is.
#[derive(Debug, Args)]
#[command(after_long_help = CONVERT_HELP)]
pub(in crate::cli) struct ConvertArgs {
    /// The checkpoint to read
    #[arg(value_name = "FROM")]
    pub(in crate::cli) source: PathBuf,

    /// The file to write
    #[arg(value_name = "TO")]
    pub(in crate::cli) destination: PathBuf,

    /// Leave out what the format can't hold, and list it
    #[arg(long)]
    pub(in crate::cli) lossy: bool,

    #[command(flatten)]
    pub(in crate::cli) write: WriteArgs,

    /// The fast path: look at presence, size and completion marker of the source only
    ///
    /// The new file is still read back and verified.
    #[arg(long, conflicts_with = "level", help_heading = "What is checked")]
    pub(in crate::cli) skip_checkpoint_validation: bool,

    #[command(flatten)]
    pub(in crate::cli) check: CheckArgs,

    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
