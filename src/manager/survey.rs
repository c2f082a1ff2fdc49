use super::Run;
use super::retention::Candidate;
use crate::Error;
use crate::record::{CheckpointStanding, Finding, Level, Listed, Surveyed, Verdict};
use crate::validate::{VerifyOptions, verify};

/// Lists a run's checkpoints, oldest first, with what is known of each: what a check at the level of the options finds
/// now, and whether they were verified when they were saved.
///
/// A checkpoint is **good** if it passes now, and was read back and verified before it was committed; or if it
/// passes now at the level [`Load`](Level::Load), which reads every byte. One that is damaged is **bad**. All others are
/// **unverified**: those that were saved without a check, that this reader or this machine can't read, that are
/// incompatible.
///
/// # Errors
///
/// The run can't be listed.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let place = directory.path().join("run");
/// use ckpt::manager::retention::{Candidate, Policy, plan};
/// use ckpt::manager::{Manager, ManagerOptions, survey};
/// use ckpt::{Level, State, VerifyOptions};
///
/// let manager = Manager::open(&place, ManagerOptions::default())?;
/// for step in [100, 200, 300] {
///     let mut state = State::new();
///     state.insert("step", step)?;
///     manager.save(u64::try_from(step)?, &state)?;
/// }
/// // A quick look is enough: they were read back when they were saved.
/// let look = VerifyOptions::default().with_level(Level::Container);
/// let there: Vec<Candidate> = survey(manager.run(), &look)?.iter().map(Candidate::from).collect();
/// let plan = plan(&there, &Policy::default().keep_last(2))?;
/// let removed = plan.apply(|id| manager.run().remove(id).map(drop)).into_result()?;
/// assert_eq!(removed, ["step-0000000100".parse()?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn survey(run: &Run, options: &VerifyOptions) -> Result<Vec<Surveyed>, Error> {
    Ok(run.list()?.into_iter().map(|listed| judge(listed, options)).collect())
}

/// Checks one checkpoint of a run's list, and says what is known of it.
fn judge(listed: Listed, options: &VerifyOptions) -> Surveyed {
    let finding = listed.finding.clone().or_else(|| failure(&listed, options));
    let standing = match &finding {
        Some(finding) if finding.verdict == Verdict::Corrupted => CheckpointStanding::Bad,
        None if is_proven(&listed, options) => CheckpointStanding::Good,
        _ => CheckpointStanding::Unverified,
    };
    let Listed { id, path, bytes, manifest, pinned, .. } = listed;
    let (created, parent, metrics) = match manifest {
        Some(manifest) => (Some(manifest.created), manifest.parent, manifest.metrics),
        None => Default::default(),
    };
    Surveyed { id, path, standing, bytes, created, parent, metrics, pinned, finding }
}

/// Returns what a check finds against it.
fn failure(listed: &Listed, options: &VerifyOptions) -> Option<Finding> {
    verify(&listed.path, options).reason().cloned()
}

/// Returns whether one that passes was read through: now, or before it was committed.
fn is_proven(listed: &Listed, options: &VerifyOptions) -> bool {
    let reads_all = options.level >= Level::Load && !options.skip_contents;
    let Some(manifest) = &listed.manifest else { return false };
    reads_all || (manifest.was_validated() && manifest.artifacts.iter().any(|artifact| artifact.proven))
}

impl From<&Surveyed> for Candidate {
    fn from(surveyed: &Surveyed) -> Self {
        let mut candidate = Self::new(surveyed.id, surveyed.standing).with_pin(surveyed.pinned.is_some());
        candidate.created = surveyed.created;
        candidate.metrics.clone_from(&surveyed.metrics);
        candidate.bytes = surveyed.bytes;
        candidate
    }
}
