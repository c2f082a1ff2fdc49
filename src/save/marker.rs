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

use std::io;
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
///
/// Size and proof are taken from one open file: another writer may have replaced it since the temporary file
/// was made, and the size of one with the proof of another describes a file that never was.
pub(super) fn old_file(disk: &dyn Disk, temporary: &Temporary<'_>) -> Option<Described> {
    match disk.open(temporary.destination()) {
        Ok(source) => {
            let proven = proof_of(&*source);
            Some(Described { bytes: source.len(), proof: proven.map(|proven| proven.proof.id()) })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => temporary.existing().map(|stat| Described { bytes: stat.len, proof: None }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::io::commit::LocalDisk;
    use crate::tensor::State;

    use super::*;

    /// Makes a file of some bytes of metadata, and returns its proof.
    fn save(path: &Path, bytes: usize) -> Proof {
        let options = SaveOptions::default().with_metadata("filler", "x".repeat(bytes));
        crate::save::save(path, &State::new(), &options).unwrap().proof
    }

    #[test]
    fn a_file_that_another_writer_replaced_is_described_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        save(&path, 10);
        let temporary = Temporary::create(&LocalDisk, &path).unwrap();
        let proof = save(&path, 10_000);
        let bytes = path.metadata().unwrap().len();
        assert_ne!(temporary.existing().unwrap().len, bytes);
        let described = old_file(&LocalDisk, &temporary).unwrap();
        assert_eq!(described, Described { bytes, proof: Some(proof.id()) });
        std::fs::remove_file(&path).unwrap();
        assert_eq!(old_file(&LocalDisk, &temporary), None);
    }
}
