//! Marker and seal of the copy, while it takes the place of another file.
//!
//! 1. A marker that is there comes to speak of the old file or the new one; a seal that is there, which can
//!    only speak of one, goes.
//! 2. The copy takes its name.
//! 3. Its seal is written, then its marker, which says that all is finished.
//!
//! So no marker and no seal ever vouches for bytes that it wasn't made for, whenever the power goes.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::io::FileSource;
use crate::io::commit::{Disk, Durability, Temporary, remove_durably, write_small};
use crate::record::{Marker, Seal};
use crate::save::companions::{self, MAX_BYTES};
use crate::save::marker::old_file;
use crate::save::names::beside;
use crate::validate::proof_of;

/// Marker and seal on the way.
pub(super) struct Beside<'d> {
    disk: &'d dyn Disk,
    durability: Durability,
    marker: PathBuf,
    seal: PathBuf,
    new_marker: Option<Vec<u8>>,
    new_seal: Option<Vec<u8>>,
    /// The seal that went.
    old_seal: Option<Vec<u8>>,
}

impl<'d> Beside<'d> {
    /// Readies what is there. The copy must be complete, under its temporary name; `new_seal` was held against it.
    pub(super) fn begin(
        disk: &'d dyn Disk,
        temporary: &Temporary<'_>,
        (from, source): (&Path, &FileSource),
        new_seal: Option<Vec<u8>>,
        durability: Durability,
    ) -> Result<Self, Error> {
        let to = temporary.destination();
        let (marker, seal) = (beside(to, Marker::SUFFIX), beside(to, Seal::SUFFIX));
        let proof = proof_of(source).map(|proven| proven.proof.id());
        let described = Marker { bytes: crate::io::ReadAt::len(source), proof, or: None };
        let has_marker = is_there(disk, &marker)?;
        let new_marker = match companions::read(from, Marker::SUFFIX)? {
            // What others wrote in theirs says nothing of sizes: it is true of the copy as well.
            Some(text) if Marker::parse(&text).is_none() => Some(text),
            Some(_) => Some(described.encode().into_bytes()),
            None => has_marker.then(|| described.encode().into_bytes()),
        };
        if has_marker {
            let both = Marker { or: old_file(disk, temporary), ..described };
            write_small(disk, &marker, both.encode().as_bytes(), durability)?;
        }
        let old_seal = take(disk, &seal)?;
        Ok(Self { disk, durability, marker, seal, new_marker, new_seal, old_seal })
    }

    /// Gives the old file its seal back, where the copy couldn't take its place. The error that is under way says
    /// more than one of this would.
    pub(super) fn undo(&self) {
        if let Some(seal) = &self.old_seal {
            drop(write_small(self.disk, &self.seal, seal, self.durability));
        }
    }

    /// Writes seal and marker of the copy, which has its name now. Returns whether there is a marker and a seal.
    pub(super) fn finish(self) -> Result<(bool, bool), Error> {
        if let Some(seal) = &self.new_seal {
            write_small(self.disk, &self.seal, seal, self.durability)?;
        }
        if let Some(marker) = &self.new_marker {
            write_small(self.disk, &self.marker, marker, self.durability)?;
        }
        Ok((self.new_marker.is_some(), self.new_seal.is_some()))
    }
}

/// Returns whether there is something at a path.
fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    let stat = disk.stat(path).map_err(|error| Error::io(path, "look at it", error))?;
    Ok(stat.is_some())
}

/// Reads a seal and removes it; `None` where there is none.
fn take(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    if !is_there(disk, path)? {
        return Ok(None);
    }
    let text = disk.read(path, MAX_BYTES).map_err(|error| Error::io(path, "read the seal", error))?;
    remove_durably(disk, path)?;
    Ok(Some(text))
}
