use std::path::PathBuf;

use clap::Args;

use super::{OutputArgs, ReadArgs, WriteArgs};

const SALVAGE_HELP: &str = "\
What proves that a tensor is intact:
  a file with a proof        the digests of the tensor's blocks
  PyTorch's ZIP archive      the CRC-32 of its record, also where the file was cut and has no directory
  other files                nothing: their tensors are saved with --unproven only, and listed as such

Where the head of a file is damaged, digests prove the bytes of a tensor, and neither its name nor its
shape: those are unproven as well. Plain values are kept. A missing tensor's key is left out of a map;
in a list, its place holds None. The new file's metadata says that it was salvaged, and how much of
it is missing.

Exit codes:
  0    all tensors were saved
  1    some are missing, and listed; the others were saved
  2    wrong usage; or nothing could be saved, and nothing was written

Examples:
  ckpt salvage damaged.pt rest.pt
  ckpt salvage cut.safetensors rest.safetensors --unproven";

/// Saves what is intact of a damaged checkpoint into a new file.
#[derive(Debug, Args)]
#[command(after_long_help = SALVAGE_HELP)]
pub(in crate::cli) struct SalvageArgs {
    /// The damaged checkpoint: one file
    #[arg(value_name = "DAMAGED")]
    pub(in crate::cli) source: PathBuf,

    /// The file to write
    #[arg(value_name = "OUT")]
    pub(in crate::cli) destination: PathBuf,

    /// Save tensors as well that lie wholly in the file, and that nothing proves
    #[arg(long)]
    pub(in crate::cli) unproven: bool,

    #[command(flatten)]
    pub(in crate::cli) write: WriteArgs,

    #[command(flatten)]
    pub(in crate::cli) read: ReadArgs,

    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
