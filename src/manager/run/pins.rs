//! Checkpoints that are kept whatever happens: a small file each, which holds the reason.

use std::collections::BTreeMap;
use std::io;

use super::Run;
use super::places::PINS;
use crate::Error;
use crate::io::commit::{Durability, create_directories, remove_durably, write_small};
use crate::record::CheckpointId;

/// What of a reason is read, in bytes.
const MAX_REASON_BYTES: u64 = 64 << 10;

impl Run {
    /// Pins a checkpoint: no policy removes it, nor does [`Run::remove`].
    ///
    /// # Errors
    ///
    /// There is no such checkpoint, or the pin can't be written.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # use ckpt::manager::{CommitOptions, Run, SaveRequest, commit};
    /// # let run = Run::open(directory.path())?;
    /// # let id = "step-0000000100".parse()?;
    /// # let lock = run.lock()?;
    /// # commit(&run, id, None, &SaveRequest::at(100), &Default::default(), &CommitOptions::default())?;
    /// run.pin(id, "what the paper's table 2 was made with")?;
    /// assert!(run.remove(id).is_err());
    /// assert!(run.unpin(id)? && run.remove(id)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pin(&self, id: CheckpointId, reason: &str) -> Result<(), Error> {
        let path = self.path(id);
        let stat = self.disk().stat(&path).map_err(|error| Error::io(&path, "look at it", error))?;
        if !stat.is_some_and(|stat| stat.is_directory) {
            return Err(Error::nothing(path, "there is no such checkpoint to pin"));
        }
        let pins = self.branch().join(PINS);
        create_directories(self.disk(), &pins)?;
        let text = format!("{}\n", reason.trim_end());
        write_small(self.disk(), &pins.join(id.to_string()), text.as_bytes(), Durability::Full)
    }

    /// Takes a pin away, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// The pin can't be removed.
    pub fn unpin(&self, id: CheckpointId) -> Result<bool, Error> {
        let pins = self.branch().join(PINS);
        match self.disk().stat(&pins) {
            Ok(Some(_)) => remove_durably(self.disk(), &pins.join(id.to_string())),
            Ok(None) => Ok(false),
            Err(error) => Err(Error::io(pins, "look for the pins", error)),
        }
    }

    /// Returns all pins, with their reasons.
    ///
    /// # Errors
    ///
    /// They can't be read: who asks wants to remove something.
    pub fn pins(&self) -> Result<BTreeMap<CheckpointId, String>, Error> {
        let pins = self.branch().join(PINS);
        let failed = |error| Error::io(&pins, "read the pins", error);
        let names = match self.disk().list(&pins) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = BTreeMap::new();
        for id in names.iter().filter_map(|name| name.to_str()?.parse::<CheckpointId>().ok()) {
            match self.disk().read(&pins.join(id.to_string()), MAX_REASON_BYTES) {
                Ok(text) => found.insert(id, String::from_utf8_lossy(&text).trim_end().to_owned()),
                // Somebody took it away just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(failed(error)),
            };
        }
        Ok(found)
    }
}
