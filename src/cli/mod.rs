//! The `ckpt` command.
//!
//! What it prints to stdout is data, what it prints to stderr is talk. Names that come from files or
//! the file system are hostile until escaped: nothing of them reaches the terminal raw.

mod args;
mod completions;
mod convert;
mod copy;
mod diff;
mod exit;
mod failures;
mod features;
mod hints;
mod info;
mod latest;
mod list;
mod man;
mod managed;
mod merge;
mod output;
mod pin;
mod progress;
mod prune;
mod salvage;
mod scrub;
mod seal;
mod stage;
mod text;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Cli, Command};
use self::exit::{Outcome, Stop};

/// Runs the command with the process's arguments.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(&cli).into(),
        // Help and version are printed this way too, and are no error.
        Err(error) => {
            drop(error.print());
            if error.use_stderr() { Outcome::Usage.into() } else { Outcome::Done.into() }
        }
    }
}

/// Runs one command, and says why where it stopped.
fn run(cli: &Cli) -> Outcome {
    let outcome = match &cli.command {
        Command::Verify(args) => verify::run(args),
        Command::Info(args) => info::run(args),
        Command::Cp(args) => copy::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Salvage(args) => salvage::run(args),
        Command::Seal(args) => seal::run(args),
        Command::Scrub(args) => scrub::run(args),
        Command::Merge(args) => merge::run(args),
        Command::List(args) => list::run(args),
        Command::Latest(args) => latest::run(args),
        Command::Prune(args) => prune::run(args),
        Command::Pin(args) => pin::run(args),
        Command::Unpin(args) => pin::take_away(args),
        Command::Stage(args) => stage::run(args),
        Command::Features(args) => features::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    outcome.unwrap_or_else(|stop| {
        if let Stop::Failed(message) = &stop {
            talk("error", message);
        }
        stop.outcome()
    })
}

/// Says something on stderr. That nobody listens is no error.
fn talk(kind: &str, message: &str) {
    let style = text::style_of_talk(kind);
    let mut stderr = anstream::stderr().lock();
    drop(writeln!(stderr, "{style}{kind}{style:#}: {}", text::visible(message)));
}
