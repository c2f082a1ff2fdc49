//! `ckpt pin` and `ckpt unpin`.

use super::args::{PinArgs, UnpinArgs};
use super::exit::{Outcome, Stop};
use super::{managed, talk};

/// Pins a checkpoint.
pub(super) fn run(args: &PinArgs) -> Result<Outcome, Stop> {
    let run = match managed::open(&args.directory)? {
        Ok(run) => run,
        Err(outcome) => return Ok(outcome),
    };
    run.pin(args.id, &args.reason)?;
    Ok(Outcome::Done)
}

/// Takes a pin away. That there was none is as well.
pub(super) fn take_away(args: &UnpinArgs) -> Result<Outcome, Stop> {
    let run = match managed::open(&args.directory)? {
        Ok(run) => run,
        Err(outcome) => return Ok(outcome),
    };
    if !run.unpin(args.id)? {
        talk("note", &format!("{} wasn't pinned", args.id));
    }
    Ok(Outcome::Done)
}
