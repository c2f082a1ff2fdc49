//! The memory on a disk: read once, written again and again.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::memory::{MAX_BYTES, Memory, Unread};
use crate::Error;
use crate::io::commit::{Durability, LocalDisk, write_small};
use crate::save::names::beside;

/// The memory is written at most this often: many small checkpoints are verified in a second, and each
/// write waits for the device.
const INTERVAL: Duration = Duration::from_secs(1);

/// A memory with its place.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    pub(super) memory: Memory,
    /// Where a memory that couldn't be read was put.
    pub(super) set_aside: Option<PathBuf>,
    /// When it was last written, by the clock's running time.
    written: Option<Duration>,
    is_dirty: bool,
}

impl Store {
    /// Reads the memory at `path`; an empty one where there is none. A damaged one is put aside, under the
    /// name with `.damaged` behind it, and an empty one taken instead: nothing counts as verified then.
    ///
    /// # Errors
    ///
    /// The file can't be read or put aside, is no regular file, or is of a later version.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let text = read(&path).map_err(|error| Error::io(&path, "read the scrub's memory", error))?;
        let mut store =
            Self { path, memory: Memory::default(), set_aside: None, written: None, is_dirty: false };
        let Some(text) = text else { return Ok(store) };
        match Memory::parse(&text) {
            Ok(memory) => store.memory = memory,
            Err(Unread::Damaged(_)) => {
                let aside = beside(&store.path, ".damaged");
                write_small(&LocalDisk, &aside, &text, Durability::Full)?;
                store.set_aside = Some(aside);
            }
            Err(Unread::Newer(schema)) => {
                let message = format!(
                    "the scrub's memory is of the version '{schema}', which isn't known here: upgrade ckpt, or name another"
                );
                return Err(Error::usage(message).at(store.path));
            }
        }
        Ok(store)
    }

    /// Notes that there is something to write.
    pub(super) fn touch(&mut self) {
        self.is_dirty = true;
    }

    /// Writes the memory, if there is something new in it, and if it wasn't written just now.
    pub(super) fn write_soon(&mut self, elapsed: Duration) -> Result<(), Error> {
        if self.written.is_some_and(|written| elapsed.saturating_sub(written) < INTERVAL) {
            return Ok(());
        }
        self.written = Some(elapsed);
        self.write()
    }

    /// Writes the memory in one step, if there is something new in it: a reader, and whoever comes after a
    /// crash, finds the old one or the new one.
    pub(super) fn write(&mut self) -> Result<(), Error> {
        if self.is_dirty {
            write_small(&LocalDisk, &self.path, self.memory.encode().as_bytes(), Durability::Full)?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

/// Reads the file; `None` where there is none. A link is refused, as for the lock. What is too long to be
/// a memory is cut, and no memory then.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::memory::tests::entry;
    use super::*;

    #[test]
    fn a_memory_is_written_at_most_once_a_second_and_always_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.json");
        let written = |key: &str| fs::read_to_string(&path).is_ok_and(|text| text.contains(key));
        let mut store = Store::open(path.clone()).unwrap();
        let add = |store: &mut Store, key: &str| {
            store.memory.set(key.to_owned(), entry("1", Some(1)));
            store.touch();
        };
        add(&mut store, "first");
        store.write_soon(Duration::ZERO).unwrap();
        assert!(written("first"));
        add(&mut store, "second");
        store.write_soon(Duration::from_millis(999)).unwrap();
        assert!(!written("second"));
        store.write_soon(Duration::from_secs(1)).unwrap();
        assert!(written("second"));
        add(&mut store, "third");
        store.write().unwrap();
        assert_eq!(Store::open(path.clone()).unwrap().memory, store.memory);
    }

    #[test]
    fn a_damaged_memory_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.json");
        fs::write(&path, b"{\"schema\":\"ckpt.scrub-mem").unwrap();
        let store = Store::open(path.clone()).unwrap();
        assert_eq!(store.memory, Memory::default());
        assert_eq!(fs::read(store.set_aside.unwrap()).unwrap(), fs::read(&path).unwrap());
        fs::write(&path, b"{\"schema\":\"ckpt.scrub-memory/9\"}").unwrap();
        assert!(Store::open(path).unwrap_err().to_string().contains("upgrade ckpt"));
        assert!(Store::open(directory.path().to_owned()).is_err());
    }
}
