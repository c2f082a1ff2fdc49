use std::collections::HashSet;

use crate::record::{CheckpointId, Manifest, Marker, Seal};

/// The file that makes a directory a run: its checkpoints lie two directories below.
pub const RUN_FILE: &str = "ckpt.json";

/// Returns the checkpoint that a directory of this name is.
///
/// ```
/// use ckpt::format::managed::checkpoint_id;
/// assert_eq!(checkpoint_id("step-0000001200").map(|id| id.step), Some(1200));
/// assert!(checkpoint_id("step-1200").is_none() && checkpoint_id("best").is_none());
/// ```
pub fn checkpoint_id(directory: &str) -> Option<CheckpointId> {
    directory.parse().ok()
}

/// Returns the names in a checkpoint's directory that its manifest doesn't list, in their order: what somebody
/// put there later. Hidden names, and markers and seals of those that are listed, say nothing.
pub fn unlisted<'n>(manifest: &Manifest, names: &'n [String]) -> Vec<&'n str> {
    let listed: HashSet<&str> = manifest.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    let is_listed = |name: &str| {
        let companion = [Marker::SUFFIX, Seal::SUFFIX].iter().find_map(|suffix| name.strip_suffix(suffix));
        name == Manifest::NAME
            || name.starts_with('.')
            || listed.contains(name)
            || companion.is_some_and(|name| listed.contains(name))
    };
    names.iter().map(String::as_str).filter(|name| !is_listed(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Artifact;

    #[test]
    fn what_the_manifest_has_not_is_unlisted() {
        let mut manifest = Manifest::new(CheckpointId { generation: 0, step: 1 });
        manifest.artifacts.push(Artifact::new("state.pt", 1, ""));
        let names = ["manifest.json", "state.pt", "state.pt.done", "x.seal", "notes", ".x", "state.pt2"];
        assert_eq!(unlisted(&manifest, &names.map(str::to_owned)), ["x.seal", "notes", "state.pt2"]);
    }
}
