//! The state file, as it stands there.

use std::io;

use super::migrate::migrated;
use super::place::Place;
use crate::Error;
use crate::record::{PipelineState, PipelineStateError};

/// What a state file holds.
#[derive(Debug)]
pub(super) enum Found {
    /// There is none.
    Nothing,
    /// A state.
    State(PipelineState),
    /// One without a version, in the present form.
    Migrated(PipelineState),
    /// Nothing that can be used, for this reason.
    Corrupt(String),
}

/// Reads the state file.
///
/// # Errors
///
/// It can't be read, is no file, or a later version wrote it.
pub(super) fn find(place: &Place) -> Result<Found, Error> {
    let path = place.state();
    let failed = |error| Error::io(path, "read the state of the pipeline", error);
    match place.disk().stat(path) {
        // Its directory may not be there either.
        Ok(None) => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Ok(Some(stat)) if !stat.is_file => {
            return Err(Error::usage("a pipeline's state is a file, and this is none").at(path));
        }
        Ok(Some(stat)) if stat.len > PipelineState::MAX_BYTES => {
            return Ok(Found::Corrupt("the state is damaged: it is far too long for one".to_owned()));
        }
        Ok(Some(_)) => {}
        Err(error) => return Err(failed(error)),
    }
    let text = match place.disk().read(path, PipelineState::MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed(error)),
    };
    match PipelineState::parse(&text) {
        Ok(state) => Ok(Found::State(state)),
        Err(PipelineStateError::Unversioned) => Ok(match migrated(&text, &place.default_name()) {
            Some(state) => Found::Migrated(state),
            None => Found::Corrupt("the state is damaged: its list of stages isn't one of names".to_owned()),
        }),
        Err(error @ PipelineStateError::Newer(_)) => Err(Error::incompatible(error.to_string()).at(path)),
        Err(error) => Ok(Found::Corrupt(error.to_string())),
    }
}

/// Reads the state for who only looks.
///
/// # Errors
///
/// As [`find`], or it is damaged.
pub(super) fn state(place: &Place) -> Result<Option<PipelineState>, Error> {
    match find(place)? {
        Found::Nothing => Ok(None),
        Found::State(state) | Found::Migrated(state) => Ok(Some(state)),
        Found::Corrupt(why) => Err(Error::corrupted(why).at(place.state())),
    }
}
