use std::path::PathBuf;

use clap::Args;

use super::{OutputArgs, ReadArgs};

const DIFF_HELP: &str = "\
Values are paired by the keys that lead to them, joined by dots, so that files of different formats
can be compared. The order of keys, the kinds of maps, devices, and the sharing of storages are not
compared; neither file's data is held against its checksums (see ckpt verify).

Elements are equal if their bits are. Of tensors that differ, the largest absolute difference is
told, and the first place that has it; of complex numbers it is the modulus. With --tolerance, numbers
are equal that differ by no more than that, and any NaN equals any other.

Two files whose proofs have the same id have the same bytes: no data is read then, unless --full asks
for it.

Exit codes:
  0    equal
  1    different
  2    wrong usage, or a file can't be read

Examples:
  ckpt diff a.pt b.pt
  ckpt diff model.safetensors model.pt --tolerance 1e-6
  ckpt diff step-100.pt step-200.pt --keys-only  names, dtypes and shapes";

/// Compares two checkpoints: tensors and plain values.
#[derive(Debug, Args)]
#[command(after_long_help = DIFF_HELP)]
pub(in crate::cli) struct DiffArgs {
    /// The first checkpoint
    #[arg(value_name = "A")]
    pub(in crate::cli) left: PathBuf,

    /// The second one
    #[arg(value_name = "B")]
    pub(in crate::cli) right: PathBuf,

    /// The largest absolute difference that counts as none
    #[arg(long, value_name = "NUMBER", conflicts_with = "keys_only")]
    pub(in crate::cli) tolerance: Option<f64>,

    /// Compare names, dtypes and shapes only
    #[arg(long)]
    pub(in crate::cli) keys_only: bool,

    /// Read the data even where equal proofs say that it is the same
    #[arg(long, conflicts_with = "keys_only")]
    pub(in crate::cli) full: bool,

    #[command(flatten)]
    pub(in crate::cli) read: ReadArgs,

    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
