use jiff::Timestamp;

use super::places::{LOCK, PINS};
use super::{Run, layout};
use crate::Error;
use crate::io::commit::{DiskLock, Locked, clean, clean_staged, create_directories, take_lock};

/// That nobody else writes to a run, as long as this lives. The system frees it when the process ends, however it
/// ends.
///
/// On file systems without locks, or with those of one machine alone, two writers aren't kept apart. They never
/// overwrite one another's checkpoints even so: the second to commit a name fails.
#[derive(Debug)]
pub struct RunLock {
    lock: Box<dyn DiskLock>,
    cleaned: usize,
}

impl RunLock {
    /// Returns how many directories were removed that a killed process had left behind.
    pub fn cleaned(&self) -> usize {
        self.cleaned
    }

    /// Returns whether nobody else can hold the lock, on any machine.
    pub fn is_sure(&self) -> bool {
        self.lock.is_sure()
    }
}

impl Run {
    /// Takes the run for writing: makes its directories where there are none, and removes what killed processes
    /// left behind. Readers need no lock.
    ///
    /// # Errors
    ///
    /// Somebody else writes to it: the message says who. Or the directories can't be made, or the run is laid
    /// out as a later version does it.
    pub fn lock(&self) -> Result<RunLock, Error> {
        let disk = self.disk();
        create_directories(disk, self.directory())?;
        let path = self.directory().join(LOCK);
        let lock = match take_lock(disk, &path, Timestamp::now()) {
            Ok(Locked::Ours(lock)) => lock,
            Ok(Locked::Others(holder)) => {
                let message = format!(
                    "another writer has the run: {holder}; wait for its end, or save to another directory"
                );
                return Err(Error::usage(message).at(path));
            }
            Err(error) => return Err(Error::io(path, "make the lock of the run", error)),
        };
        let layout = self.directory().join(layout::NAME);
        if !layout::check(disk, &layout)? {
            layout::write(disk, &layout)?;
        }
        create_directories(disk, self.branch())?;
        clean(disk, self.directory());
        clean(disk, &self.branch().join(PINS));
        let cleaned = clean_staged(disk, self.branch(), &*lock);
        Ok(RunLock { lock, cleaned })
    }
}
