use std::path::PathBuf;

use clap::Args;

use super::values::algorithms;
use super::{CheckArgs, OutputArgs};
use crate::digest::Algorithm;

const SEAL_HELP: &str = "\
A seal (NAME.seal) is a small JSON file with the size of a checkpoint and digests of its bytes, so
that `ckpt verify` can tell later damage, and where. It is a proof against damage, not against an
attacker: it is no signature.

Exit codes:
  0    all files are sealed, or carry a proof of their own
  1    at least one is not: it is corrupted, or it isn't the file that its seal was made for
  2    wrong usage, or what was asked for can't be done
  3    a named directory is itself the problem: missing, unreadable, nothing found

Examples:
  ckpt seal model.safetensors                writes model.safetensors.seal
  ckpt seal downloads/                       every checkpoint below that carries no proof
  ckpt seal model.safetensors --renew        the file was changed on purpose: seal it as it is now";

/// Notes the digests of files that carry no proof, so that later damage shows.
///
/// Each file is verified first, and a corrupted one is refused. Directories are searched as `ckpt
/// verify` does; of a checkpoint of several files, each is sealed. A file that carries a proof needs no
/// seal and is passed over; a seal that holds is left.
#[derive(Debug, Args)]
#[command(after_long_help = SEAL_HELP)]
pub(in crate::cli) struct SealArgs {
    /// Files and directories to seal
    #[arg(required = true, value_name = "FILE")]
    pub(in crate::cli) paths: Vec<PathBuf>,

    /// What the digests are computed with [default: crc64-nvme]
    #[arg(long, value_parser = algorithms())]
    pub(in crate::cli) algorithm: Option<Algorithm>,

    /// Replace a seal that doesn't hold, if the file itself is sound
    #[arg(long)]
    pub(in crate::cli) renew: bool,

    #[command(flatten)]
    pub(in crate::cli) check: CheckArgs,

    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
