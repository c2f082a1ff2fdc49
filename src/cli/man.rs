use std::io::Write as _;

use clap::CommandFactory as _;

use super::args::{Cli, ManArgs};
use super::exit::{Outcome, Stop};

/// Prints a manual page: the main one, or that of a command.
pub(super) fn run(args: &ManArgs) -> Result<Outcome, Stop> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command(args.command.as_deref())).manual("ckpt manual").render(&mut page)?;
    std::io::stdout().lock().write_all(&page)?;
    Ok(Outcome::Done)
}

/// Returns the command of this name, or the main one. That of a command within another is `stage-run`.
fn command(name: Option<&str>) -> clap::Command {
    let mut all = Cli::command();
    all.build();
    let mut words = name.into_iter().flat_map(|name| name.split('-'));
    match words.try_fold(&all, |command, word| command.find_subcommand(word)) {
        Some(command) => command.clone(),
        None => all,
    }
}
