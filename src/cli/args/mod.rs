//! What can be asked for: the arguments of each command in a file of its own.

mod common;
mod completions;
mod convert;
mod copy;
mod diff;
mod features;
mod files;
mod info;
mod latest;
mod list;
mod man;
mod merge;
mod pin;
mod prune;
mod salvage;
mod scrub;
mod seal;
mod stage;
mod values;
mod verify;

use clap::{Parser, Subcommand};

pub(super) use self::common::{CheckArgs, OutputArgs, StandingArgs};
pub(super) use self::completions::CompletionsArgs;
pub(super) use self::convert::ConvertArgs;
pub(super) use self::copy::CopyArgs;
pub(super) use self::diff::DiffArgs;
pub(super) use self::features::{
    FeaturesAggregateArgs, FeaturesArgs, FeaturesCommand, FeaturesStatusArgs, FeaturesTodoArgs,
};
pub(super) use self::files::{ReadArgs, WriteArgs};
pub(super) use self::info::InfoArgs;
pub(super) use self::latest::LatestArgs;
pub(super) use self::list::ListArgs;
pub(super) use self::man::ManArgs;
pub(super) use self::merge::MergeArgs;
pub(super) use self::pin::{PinArgs, UnpinArgs};
pub(super) use self::prune::PruneArgs;
pub(super) use self::salvage::SalvageArgs;
pub(super) use self::scrub::ScrubArgs;
pub(super) use self::seal::SealArgs;
pub(super) use self::stage::{
    StageApproveArgs, StageArgs, StageCleanupArgs, StageCommand, StageResetArgs, StageRunArgs,
    StageStatusArgs,
};
pub(super) use self::verify::VerifyArgs;

/// Proves a checkpoint good.
///
/// Reads PyTorch and safetensors checkpoints the way their frameworks would, executes nothing of
/// them, and says of each whether it can be used, and if not, whether it is corrupted or
/// incompatible, at which level, and why.
#[derive(Debug, Parser)]
#[command(name = "ckpt", version, propagate_version = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Verify(VerifyArgs),
    Info(InfoArgs),
    Cp(CopyArgs),
    Convert(ConvertArgs),
    Diff(DiffArgs),
    Salvage(SalvageArgs),
    Seal(SealArgs),
    Scrub(ScrubArgs),
    Merge(MergeArgs),
    List(ListArgs),
    Latest(LatestArgs),
    Prune(PruneArgs),
    Pin(PinArgs),
    Unpin(UnpinArgs),
    Stage(StageArgs),
    Features(FeaturesArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_man_argument_knows_every_command() {
        let commands: Vec<_> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for command in commands {
            assert!(Cli::try_parse_from(["ckpt", "man", &command]).is_ok(), "{command}");
        }
    }
}
