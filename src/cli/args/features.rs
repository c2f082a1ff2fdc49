use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::files::WriteArgs;
use super::values::duration;

const FEATURES_HELP: &str = "\
Examples:
  ckpt features status embeddings
  ckpt features todo embeddings --ids ids.txt
  ckpt features aggregate embeddings --ids ids.txt -o embeddings.safetensors";

/// Looks after features that many workers extract in shards.
#[derive(Debug, Args)]
#[command(after_long_help = FEATURES_HELP, subcommand_required = true, arg_required_else_help = true)]
pub(in crate::cli) struct FeaturesArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: FeaturesCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FeaturesCommand {
    Status(FeaturesStatusArgs),
    Todo(FeaturesTodoArgs),
    Aggregate(FeaturesAggregateArgs),
}

const STATUS_HELP: &str = "\
What the workers have noted is shown; no shard is read. A worker notes each shard when it is durable.

Exit codes:
  0    shown
  1    a rank has stalled (only with --stalled-after)
  2    wrong usage, or what was asked for can't be done
  3    there is no extraction in the directory
  141  the reader of the output went away before the end

Examples:
  ckpt features status embeddings
  ckpt features status embeddings --stalled-after 20m || notify 'a worker hangs'";

/// Shows what each rank has saved so far.
#[derive(Debug, Args)]
#[command(after_long_help = STATUS_HELP)]
pub(in crate::cli) struct FeaturesStatusArgs {
    /// The extraction's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// Call a rank stalled that hasn't finished and has noted nothing for longer than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(in crate::cli) stalled_after: Option<Duration>,

    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) json: bool,
}

const TODO_HELP: &str = "\
Every shard is read through, and counts if it verifies. The ids that are in none are printed, one a
line, in the order of the input. Damaged shards are named on stderr and stay where they are: a worker
that goes on sets them aside.

Exit codes:
  0    done: where nothing was printed, nothing is left to do
  2    wrong usage, or what was asked for can't be done
  3    there is no extraction in the directory
  141  the reader of the output went away before the end

Examples:
  ckpt features todo embeddings --ids ids.txt | wc -l
  ckpt features todo embeddings --ids ids.txt --rank 2 --world-size 8 > todo-2.txt";

/// Prints the ids that are still to do.
#[derive(Debug, Args)]
#[command(after_long_help = TODO_HELP)]
pub(in crate::cli) struct FeaturesTodoArgs {
    /// The extraction's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// The file of the input's ids, one a line
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ids: PathBuf,

    /// Print only those that are this rank's, from 0
    #[arg(long, value_name = "R", requires = "world_size")]
    pub(in crate::cli) rank: Option<u32>,

    /// The number of ranks
    #[arg(long, value_name = "N", requires = "rank")]
    pub(in crate::cli) world_size: Option<u32>,
}

const AGGREGATE_HELP: &str = "\
Every shard is verified before anything of it is used. The file has `ids`, a list of texts, and `data`,
a tensor with a row to each, in the order of --ids; without it, in that of the shards. It takes its
name only when it was read back and verified. The rows are never all in memory.

An id that has several rows gets the first one, by rank and number of the shard; those that differ are
named.

Exit codes:
  0    done
  1    ids have no row in any shard that verifies, or shards don't fit together: nothing was written
  2    wrong usage, or what was asked for can't be done
  3    there is no extraction in the directory

Examples:
  ckpt features aggregate embeddings --ids ids.txt -o embeddings.safetensors
  ckpt features aggregate embeddings --ids ids.txt -o embeddings.pt --allow-missing --json";

/// Makes one file of all shards.
#[derive(Debug, Args)]
#[command(after_long_help = AGGREGATE_HELP)]
pub(in crate::cli) struct FeaturesAggregateArgs {
    /// The extraction's directory
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,

    /// The file to write; its name says in which format: .safetensors, .pt
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: PathBuf,

    /// The file of the input's ids, one a line: the order of the rows, and which must be there
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ids: Option<PathBuf>,

    /// Leave ids out that have no row
    #[arg(long)]
    pub(in crate::cli) allow_missing: bool,

    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) write: WriteArgs,
}
