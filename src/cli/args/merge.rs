use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;
use super::values::{formats, levels};
use crate::features::merge::{MergeOptions, Unmatched};
use crate::record::Level;
use crate::save::Format;

const MERGE_HELP: &str = "\
Inputs, as `torch.save` or safetensors has them:
  ids    under `ids`, `nucleotide` or `proteins`: a list of texts; of a safetensors file of another
         program, a JSON list under one of these keys of its metadata
  rows   under `data`: a tensor of two dimensions, a list of tensors, a list of lists of floats, or a
         list of maps with one of these under `mean_representation`
The output is {ids: [...], data: tensor}: of each id that both have, the row of A and then that of B,
in the order of A. Floats of Python become float32. Of an id that a file has twice the last row counts.

Directories are paired by the files' names, up to the last number in them: output_1_DNABERT_S.pt and
output_1_ESM.pt make output_1_merged.pt.

An output that is there, verified, and made from these inputs as they are now is skipped; any other is
made anew, and replaced in one step. Who is killed loses the pairs that were being merged, and no other.

Exit codes:
  0    all pairs are merged, or were
  1    at least one pair could not be merged; the others are
  2    wrong usage, or what was asked for can't be done
  3    a named directory is itself the problem: missing, unreadable, no pairs in it
  141  the reader of the output went away before the end

Examples:
  ckpt merge output_1_DNABERT_S.pt output_1_ESM.pt -o output_1_merged.pt
  ckpt merge nucleotide/ protein/ -o merged/ every pair of the two directories
  ckpt merge --list pairs.tsv                A, B and OUT in each line, with tabs between
  ckpt merge a.pt b.safetensors -o out.safetensors --ids-key sequence_ids --refuse-unmatched";

/// Joins feature files by id: the embeddings of two models, one behind the other.
///
/// Inputs are held against their checksums while they are read. Each output is read back from the device
/// and verified before it takes its name.
#[derive(Debug, Args)]
#[command(after_long_help = MERGE_HELP)]
pub(in crate::cli) struct MergeArgs {
    /// The first input: a file, or a directory of files
    #[arg(value_name = "A", required_unless_present = "list", requires = "b")]
    pub(in crate::cli) a: Option<PathBuf>,

    /// The second input: a file, or a directory of files
    #[arg(value_name = "B", requires = "out")]
    pub(in crate::cli) b: Option<PathBuf>,

    /// The file to write, or the directory to write to
    #[arg(short, long = "output", value_name = "OUT")]
    pub(in crate::cli) out: Option<PathBuf>,

    /// A file with a pair in each line: A, B and OUT, with tabs between
    ///
    /// Paths are relative to the working directory. Empty lines, and those that begin with #, are passed over.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["a", "b", "out"])]
    pub(in crate::cli) list: Option<PathBuf>,

    /// Refuse a pair of which an id is in only one file
    #[arg(long)]
    pub(in crate::cli) refuse_unmatched: bool,

    /// Make outputs anew even where they are there and good
    #[arg(long)]
    pub(in crate::cli) redo: bool,

    /// The key of the ids; may be repeated for inputs that differ
    #[arg(long, value_name = "KEY", help_heading = "What is what")]
    pub(in crate::cli) ids_key: Vec<String>,

    /// The key of the rows; may be repeated for inputs that differ
    #[arg(long, value_name = "KEY", help_heading = "What is what")]
    pub(in crate::cli) data_key: Vec<String>,

    /// The key of a row's elements, where rows are maps; may be repeated for inputs that differ
    #[arg(long, value_name = "KEY", help_heading = "What is what")]
    pub(in crate::cli) value_key: Vec<String>,

    /// The format of the outputs [default: as their extension says]
    #[arg(long, value_parser = formats())]
    pub(in crate::cli) format: Option<Format>,

    /// Write a completion marker (NAME.done) beside each output
    #[arg(long)]
    pub(in crate::cli) marker: bool,

    /// How deep outputs are verified, old and new [default: load]
    #[arg(long, value_parser = levels())]
    pub(in crate::cli) level: Option<Level>,

    /// The number of pairs that are merged at once [default: two per core, at most 8]
    #[arg(short, long, visible_alias = "threads", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(in crate::cli) jobs: Option<u16>,

    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

impl MergeArgs {
    /// Returns how pairs are to be merged.
    pub(in crate::cli) fn options(&self) -> MergeOptions {
        let mut options = MergeOptions::default();
        if self.refuse_unmatched {
            options.unmatched = Unmatched::Refuse;
        }
        options.table.ids_keys.clone_from(&self.ids_key);
        options.table.data_keys.clone_from(&self.data_key);
        options.table.value_keys.clone_from(&self.value_key);
        options.format = self.format;
        options.marker = self.marker;
        options.redo = self.redo;
        options.level = self.level.unwrap_or(options.level);
        options.threads = self.jobs.map_or(options.threads, usize::from);
        options
    }
}
