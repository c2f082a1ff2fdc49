use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::record::{CheckpointId, CheckpointStanding, Manifest};

/// A checkpoint that is there, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its name. The order of names is the order of the history.
    pub id: CheckpointId,
    /// When it was committed; none where its manifest can't be read. Such a one has no part in rules of time.
    pub created: Option<Timestamp>,
    /// What was measured at it.
    pub metrics: BTreeMap<String, f64>,
    /// Whether somebody wants it kept, whatever the rules say.
    pub pinned: bool,
    /// What is known of it.
    pub standing: CheckpointStanding,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Candidate {
    /// Makes one of which nothing else is known.
    pub fn new(id: CheckpointId, standing: CheckpointStanding) -> Self {
        Self { id, created: None, metrics: BTreeMap::new(), pinned: false, standing, bytes: 0 }
    }

    /// Takes time, metrics and size from a manifest.
    #[must_use]
    pub fn with_manifest(mut self, manifest: &Manifest) -> Self {
        self.created = Some(manifest.created);
        self.metrics.clone_from(&manifest.metrics);
        self.bytes = manifest.bytes();
        self
    }

    /// Says whether it is pinned.
    #[must_use]
    pub fn with_pin(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }

    /// Returns whether the work is known to be able to go on from it.
    pub(super) fn is_good(&self) -> bool {
        self.standing == CheckpointStanding::Good
    }
}
