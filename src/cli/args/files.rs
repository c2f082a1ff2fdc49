//! How files are read and written by the commands that make new ones, or compare them.

use clap::Args;

use super::values::formats;
use crate::digest::Algorithm;
use crate::save::{Format, SaveOptions};

/// How the new file is written.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct WriteArgs {
    /// The format of the new file [default: as its extension says]
    #[arg(long, value_parser = formats())]
    pub(in crate::cli) format: Option<Format>,

    /// Write a completion marker (NAME.done) beside it
    #[arg(long)]
    pub(in crate::cli) marker: bool,

    /// Replace nothing: an existing file is an error
    #[arg(long)]
    pub(in crate::cli) no_clobber: bool,

    /// Compute the digests of its proof with BLAKE3
    #[arg(long)]
    pub(in crate::cli) strong: bool,
}

impl WriteArgs {
    /// Returns how the file is to be saved.
    pub(in crate::cli) fn options(self) -> SaveOptions {
        let (marker, overwrite) = (self.marker, !self.no_clobber);
        let mut options = SaveOptions { format: self.format, marker, overwrite, ..SaveOptions::default() };
        if self.strong {
            options.algorithm = Algorithm::Blake3;
        }
        options
    }
}

/// How a file is read that isn't verified first.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ReadArgs {
    /// Accept this global in a pickle, as data; still nothing is executed
    #[arg(long, value_name = "MODULE.NAME")]
    pub(in crate::cli) allow_global: Vec<String>,

    /// The number of threads that read [default: one per core, at most 8]
    #[arg(short, long, visible_alias = "threads", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(in crate::cli) jobs: Option<u16>,
}
