//! One decision for all processes of a job.

use serde::{Deserialize, Serialize};

use super::attempt::load_one;
use super::{ResumeOptions, Resumed, resume};
use crate::Error;
use crate::manager::{Exchange, Run};
use crate::record::{Finding, Manifest, Skipped};

/// What the process of rank 0 tells the others.
#[derive(Serialize, Deserialize)]
enum Decision {
    /// The run has no checkpoint.
    Nothing,
    /// All resume from this one: the text of its manifest. So none of them has another one's.
    Resume { manifest: String, skipped: Vec<Skipped> },
    /// It can't be decided.
    Failed { message: String, finding: Option<Finding> },
}

/// As [`resume()`], in each process of a job: the one of rank 0 decides, all others load the same checkpoint,
/// each with its own options, and verify it as well. Where one of them can't, none resumes.
///
/// # Errors
///
/// In all processes: as [`resume()`] in that of rank 0; or one of the others can't load the checkpoint, which
/// says why itself; or they can't reach one another.
pub fn resume_together(
    run: &Run,
    options: &ResumeOptions,
    exchange: &dyn Exchange,
) -> Result<Option<Resumed>, Error> {
    resume_after(Ok(()), run, options, exchange)
}

/// As [`resume_together`], for a process that may know already that it can't resume.
pub(in crate::manager) fn resume_after(
    before: Result<(), Error>,
    run: &Run,
    options: &ResumeOptions,
    exchange: &dyn Exchange,
) -> Result<Option<Resumed>, Error> {
    // Whatever happens, every process broadcasts once and agrees once: none waits for another in vain.
    let own = if exchange.rank() == 0 {
        let resumed = before.and_then(|()| resume(run, options));
        exchange.broadcast(&encode(&resumed))?;
        resumed
    } else {
        let message = exchange.broadcast(&[])?;
        before.and_then(|()| follow(run, &message, options))
    };
    let all = exchange.all_agree(own.is_ok())?;
    match own? {
        Some(Resumed { path, .. }) if !all => {
            let message = "another process of the job can't load it, and says why: none resumes";
            Err(Error::usage(message).at(path))
        }
        None if !all => Err(Error::usage("another process of the job can't begin, and says why")),
        resumed => Ok(resumed),
    }
}

/// Does what the process of rank 0 decided.
fn follow(run: &Run, message: &[u8], options: &ResumeOptions) -> Result<Option<Resumed>, Error> {
    match serde_json::from_slice(message).map_err(|_| no_decision())? {
        Decision::Nothing => Ok(None),
        Decision::Resume { manifest, skipped } => load_same(run, &manifest, skipped, options).map(Some),
        Decision::Failed { message, finding } => {
            let message = format!("the process of rank 0 can't resume: {message}");
            Err(match finding {
                Some(finding) => Error::of(Finding { message, ..finding }),
                None => Error::usage(message),
            })
        }
    }
}

/// Says what was decided.
fn decision(resumed: &Result<Option<Resumed>, Error>) -> Decision {
    match resumed {
        Ok(None) => Decision::Nothing,
        Ok(Some(Resumed { manifest, skipped, .. })) => {
            Decision::Resume { manifest: manifest.encode(), skipped: skipped.clone() }
        }
        Err(error) => Decision::Failed { message: error.to_string(), finding: error.finding().cloned() },
    }
}

fn encode(resumed: &Result<Option<Resumed>, Error>) -> Vec<u8> {
    // Texts and findings always become JSON; no text would be no decision.
    serde_json::to_vec(&decision(resumed)).unwrap_or_default()
}

fn no_decision() -> Error {
    Error::usage("what the process of rank 0 decided isn't known: all must run the same version of ckpt")
}

/// Loads the checkpoint that was decided on.
fn load_same(
    run: &Run,
    manifest: &str,
    skipped: Vec<Skipped>,
    options: &ResumeOptions,
) -> Result<Resumed, Error> {
    let manifest = Manifest::parse(manifest.as_bytes()).map_err(|_| no_decision())?;
    let id = manifest.id;
    let state = load_one(run, id, &manifest, options)?;
    Ok(Resumed { id, path: run.path(id), manifest, state, skipped })
}
