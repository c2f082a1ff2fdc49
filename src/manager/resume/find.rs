use super::walk::{Walked, back};
use super::{Latest, ResumeOptions, Resumed, attempt};
use crate::Error;
use crate::manager::Run;

/// Finds the newest checkpoint of a run that is good, and loads it; `None` where the run has none at all.
///
/// From the newest backwards, each is verified while it is loaded, as deep as the options say. One that is
/// unfinished or corrupted is skipped, and [`Resumed::skipped`] says why. Each file must carry the proof that the
/// manifest names: whatever else is in its place is damage.
///
/// # Errors
///
/// - A checkpoint is intact and of no use here ([`ErrorKind::Incompatible`](crate::ErrorKind)): it isn't skipped,
///   since that would silently drop what was learnt since. The message names the next good one, and
///   [`ResumeOptions::force`] goes on to it.
/// - A checkpoint can't be read (a permission, a device's error), which says nothing of its bytes: as above.
/// - The run has checkpoints, and none can be used. Beginning anew is for the caller to decide.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let place = directory.path().join("run");
/// use ckpt::manager::{Manager, ManagerOptions, ResumeOptions, Run, resume};
///
/// let run = Run::open(&place)?;
/// assert!(resume(&run, &ResumeOptions::default())?.is_none());
///
/// let manager = Manager::open(&place, ManagerOptions::default())?;
/// manager.save(100, &ckpt::State::new())?;
/// manager.save(200, &ckpt::State::new())?;
/// std::fs::remove_file(run.path("step-0000000200".parse()?).join("state.safetensors"))?;
/// let resumed = resume(&run, &ResumeOptions::default())?.ok_or("nothing to resume from")?;
/// assert_eq!(resumed.step(), 100);
/// assert_eq!(resumed.skipped[0].id.step, 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resume(run: &Run, options: &ResumeOptions) -> Result<Option<Resumed>, Error> {
    let walked = back(run, options.force, &|id| {
        let manifest = run.manifest(id)?;
        let state = attempt::load_one(run, id, &manifest, options)?;
        Ok((manifest, state))
    })?;
    Ok(walked.map(|Walked { id, found: (manifest, state), skipped }| Resumed {
        id,
        path: run.path(id),
        manifest,
        state,
        skipped,
    }))
}

/// Finds the newest checkpoint of a run that is good, as [`resume()`] does, without loading it.
///
/// # Errors
///
/// As [`resume()`].
pub fn latest(run: &Run, options: &ResumeOptions) -> Result<Option<Latest>, Error> {
    let walked = back(run, options.force, &|id| {
        let manifest = run.manifest(id)?;
        attempt::verify_one(run, id, &manifest, options)?;
        Ok(manifest)
    })?;
    Ok(walked.map(|Walked { id, found: manifest, skipped }| Latest {
        id,
        path: run.path(id),
        manifest,
        skipped,
    }))
}
