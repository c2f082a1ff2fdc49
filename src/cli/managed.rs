//! The run that a command is about.

use std::path::{Path, PathBuf};

use super::exit::{Outcome, Stop};
use super::{hints, talk};
use crate::error::Error;
use crate::io::commit::is_temporary;
use crate::manager::Run;

/// Opens the run in a directory. Where there is none, says so, and how the command ends for it.
pub(super) fn open(directory: &Path) -> Result<Result<Run, Outcome>, Stop> {
    let run = Run::open(directory)?;
    if run.is_there()? {
        return Ok(Ok(run));
    }
    talk("error", &Error::nothing(directory, "there is no run in this directory").to_string());
    talk("hint", hints::NO_RUN);
    Ok(Err(Outcome::Directory))
}

/// Returns the directories of checkpoints that aren't committed: being saved, or left by a killed process.
pub(super) fn in_flight(run: &Run) -> Result<Vec<PathBuf>, Stop> {
    let names = run.disk().list(run.branch());
    let names = names.map_err(|error| Error::io(run.branch(), "list the checkpoints", error))?;
    let mut paths: Vec<PathBuf> =
        names.iter().filter(|name| is_temporary(name)).map(|name| run.branch().join(name)).collect();
    paths.sort_unstable();
    Ok(paths)
}
