//! The completion marker beside a file that is saved.
//!
//! A marker says `{"bytes": …, "proof": …}` of the file that it vouches for. While a file that has a marker is
//! replaced, the marker speaks of both, the new one `or` the old one, so that it is true at every moment:
//!
//! 1. a marker for either takes the old marker's place, whatever that one said;
//! 2. the new file takes the old file's place;
//! 3. a marker for the new file alone takes its place.
//!
//! Each step is durable before the next begins. The old marker is never just removed: for a reader who
//! requires markers, the old file would look unfinished.

use std::path::PathBuf;

use super::SaveOptions;
use super::names::beside;
use crate::Error;
use crate::io::commit::{Disk, Durability, Temporary, write_small};
use crate::record::{Described, Marker, Proof};
use crate::validate::proof_of;

/// A marker on the way from the old file to the new one.
pub(super) struct MarkerUpdate<'d> {
    disk: &'d dyn Disk,
    path: PathBuf,
    marker: Marker,
    durability: Durability,
    /// Whether there is to be a marker at all.
    wanted: bool,
}

impl<'d> MarkerUpdate<'d> {
    /// Makes an existing marker speak of both files. The new one must be complete, under its temporary name.
    pub(super) fn begin(
        disk: &'d dyn Disk,
        temporary: &Temporary<'_>,
        bytes: u64,
        proof: &Proof,
        options: &SaveOptions,
    ) -> Result<Self, Error> {
        let path = beside(temporary.destination(), Marker::SUFFIX);
        let marker = Marker { bytes, proof: Some(proof.id()), or: None };
        let stat = disk.stat(&path).map_err(|error| Error::io(&path, "look at the marker", error))?;
        let update = Self {
            disk,
            path,
            marker,
            durability: options.durability,
            wanted: options.marker || stat.is_some(),
        };
        if stat.is_some() {
            let or = old_file(disk, temporary);
            update.write(&Marker { or, ..update.marker.clone() })?;
        }
        Ok(update)
    }

    /// Makes the marker speak of the new file alone.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.wanted { self.write(&self.marker) } else { Ok(()) }
    }

    fn write(&self, marker: &Marker) -> Result<(), Error> {
        write_small(self.disk, &self.path, marker.encode().as_bytes(), self.durability)
    }
}

/// Describes the file that is about to be replaced, as far as it can be read.
pub(super) fn old_file(disk: &dyn Disk, temporary: &Temporary<'_>) -> Option<Described> {
    let bytes = temporary.existing()?.len;
    let source = disk.open(temporary.destination()).ok();
    let proven = source.and_then(|source| proof_of(&*source));
    Some(Described { bytes, proof: proven.map(|proven| proven.proof.id()) })
}
