//! Trying again.

use std::time::Instant;

use super::SaverOptions;
use super::retry::is_transient;
use crate::Error;
use crate::manager::{Committed, Event};
use crate::record::CheckpointId;

/// Tries until a checkpoint is saved, or there is no hope. `commit` is told how often it has failed.
///
/// # Errors
///
/// That of the last attempt.
pub(in crate::manager) fn attempt(
    options: &SaverOptions,
    id: CheckpointId,
    since: Instant,
    mut commit: impl FnMut(u32) -> Result<Committed, Error>,
) -> Result<Committed, Error> {
    let mut failed = 0;
    loop {
        let error = match commit(failed) {
            Ok(mut committed) => {
                committed.retries = failed;
                committed.elapsed = since.elapsed();
                return Ok(committed);
            }
            Err(error) => error,
        };
        failed += 1;
        let Some(after) = options.retry.delay(failed).filter(|_| is_transient(&error)) else {
            return Err(error);
        };
        options.tell(&Event::Retrying { id, error: &error, attempt: failed, after });
        options.clock.sleep(after);
    }
}
