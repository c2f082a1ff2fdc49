use std::path::PathBuf;

use clap::Args;

use super::{CheckArgs, OutputArgs};

const COPY_HELP: &str = "\
What is done:
  1. the source is verified; a corrupted one is refused, and nothing is written
  2. its bytes are copied to a temporary file beside the destination, with their digest
  3. the copy is read back from the device, and its digest held against the source's
  4. the copy takes its name in one step; marker (NAME.done) and seal (NAME.seal) follow it

Whatever happens meanwhile, the destination is the old file whole or the new one whole.

Exit codes:
  0    copied
  1    the source is not fit to be copied, or changed meanwhile
  2    wrong usage, or what was asked for can't be done

Examples:
  ckpt cp last.pt /backup/                   the same name in a directory
  ckpt cp last.pt best.pt                    a name of its own; an existing file is replaced whole
  ckpt cp model.safetensors.index.json /backup/run-7/
                                             a sharded checkpoint: shards first, index last
  ckpt cp checkpoint-500 /backup/            a Hugging Face Trainer's directory";

/// Copies a checkpoint, verified and whole.
///
/// Byte for byte: what the file carries, such as its proof, stays true of the copy. The source is
/// verified first, and the copy is read back from the device before it takes its name.
#[derive(Debug, Args)]
#[command(after_long_help = COPY_HELP)]
pub(in crate::cli) struct CopyArgs {
    /// The checkpoint: a file, a shard index, a Trainer's directory, or a managed one
    #[arg(value_name = "SRC")]
    pub(in crate::cli) source: PathBuf,

    /// The new file, or a directory to copy into
    #[arg(value_name = "DST")]
    pub(in crate::cli) destination: PathBuf,

    /// Replace nothing: an existing file is an error
    #[arg(long)]
    pub(in crate::cli) no_clobber: bool,

    /// The fast path: look at presence, size and completion marker of the source only
    ///
    /// The copy is still read back and held against the bytes that were read.
    #[arg(long, conflicts_with = "level", help_heading = "What is checked")]
    pub(in crate::cli) skip_checkpoint_validation: bool,

    #[command(flatten)]
    pub(in crate::cli) check: CheckArgs,

    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
