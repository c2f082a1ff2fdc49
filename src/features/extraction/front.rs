use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::todo::{self, Todo};
use super::writer::ShardWriter;
use super::{ExtractionOptions, records};
use crate::Error;
use crate::digest::{Algorithm, Hasher};
use crate::io::commit::{Disk, LocalDisk, create_directories, resolve_directory};
use crate::record::{ExtractionManifest, ExtractionRecord, InputFingerprint, InputUnit, ModelConfig};
use crate::save::Format;

/// One of the workers that make features together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    rank: u32,
    world_size: u32,
}

impl Worker {
    /// Makes the worker of a rank, of so many.
    ///
    /// # Errors
    ///
    /// There is no such rank, or there are more than [`ExtractionRecord::MAX_RANKS`].
    pub fn new(rank: u32, world_size: u32) -> Result<Self, Error> {
        if world_size > ExtractionRecord::MAX_RANKS {
            let most = ExtractionRecord::MAX_RANKS;
            return Err(Error::usage(format!("{world_size} ranks are too many: {most} may work together")));
        }
        if rank >= world_size {
            return Err(Error::usage(format!("there is no rank {rank} of {world_size}: ranks count from 0")));
        }
        Ok(Self { rank, world_size })
    }

    /// Returns the rank, from 0.
    pub fn rank(self) -> u32 {
        self.rank
    }

    /// Returns how many ranks there are.
    pub fn world_size(self) -> u32 {
        self.world_size
    }
}

/// An extraction of features, as one of its workers has it open.
///
/// Opening it takes no lock, and any number of workers may do so at once. Who writes is [`ShardWriter`].
#[derive(Clone, Debug)]
pub struct Extraction {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) worker: Worker,
    pub(super) record: ExtractionRecord,
    pub(super) options: ExtractionOptions,
}

impl Extraction {
    /// Opens the extraction in a directory, which is made where there is none: the worker that comes first writes down
    /// of what and with which model it is, and every other is held against that.
    ///
    /// # Errors
    ///
    /// What is there was made of another input or with another model
    /// ([`ErrorKind::Incompatible`](crate::ErrorKind); the message names what differs), or is of a later version; the
    /// options make no sense; or the directory can't be written.
    pub fn open(
        directory: &Path,
        worker: Worker,
        input: InputFingerprint,
        model: &ModelConfig,
        options: ExtractionOptions,
    ) -> Result<Self, Error> {
        Self::open_on(Arc::new(LocalDisk), directory, worker, input, model, options)
    }

    /// As [`Extraction::open`], writing to a disk of the caller's: see [`Disk`].
    ///
    /// # Errors
    ///
    /// As [`Extraction::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        directory: &Path,
        worker: Worker,
        input: InputFingerprint,
        model: &ModelConfig,
        options: ExtractionOptions,
    ) -> Result<Self, Error> {
        if options.format == Format::TorchFlat {
            let message =
                "a shard has ids beside its rows, which torch-flat can't hold: name safetensors or torch";
            return Err(Error::usage(message));
        }
        let directory = resolve_directory(&*disk, directory)?;
        create_directories(&*disk, &directory)?;
        let now = options.clock.now();
        let wanted = ExtractionRecord::new(input, model.clone(), worker.world_size, now);
        let record = records::begin(&*disk, &directory, &wanted, now)?;
        Ok(Self { disk, directory, worker, record, options })
    }

    /// Returns the extraction's name: its input and its model decide it.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Returns its directory, without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the worker that has it open.
    pub fn worker(&self) -> Worker {
        self.worker
    }

    /// Returns what all ranks have saved so far, as their records say.
    ///
    /// # Errors
    ///
    /// The records can't be read, or are of a later version.
    pub fn manifest(&self) -> Result<ExtractionManifest, Error> {
        records::merged(&*self.disk, &self.directory, self.record.clone())
    }

    /// Returns the ids that are still to do: those that aren't in a shard that verifies. Every shard is read through.
    ///
    /// A damaged shard is set aside: it keeps its bytes under another name, and its ids are to do again. A shard whose
    /// completion marker is missing, because its worker was killed just then, gets one.
    ///
    /// Each worker may ask for itself, also while others write already: which ids are whose
    /// ([`Todo::for_rank`]) doesn't depend on when it asks.
    ///
    /// # Errors
    ///
    /// The ids aren't those that the extraction is of, or one is there twice; a shard can't be read, or is sound and of
    /// another extraction.
    pub fn todo(&self, ids: &[impl AsRef<str>]) -> Result<Todo, Error> {
        let input = &self.record.input;
        if input.of == InputUnit::Ids {
            let given = InputFingerprint::of_ids(ids);
            if given != *input {
                let message = format!("the ids aren't those of the extraction: here {given}; there {input}");
                return Err(Error::incompatible(message).at(&self.directory));
            }
        }
        todo::survey(&*self.disk, &self.directory, &self.record, ids, Some(self.options.clock.now()))
    }

    /// Begins to write as this worker's rank.
    ///
    /// # Errors
    ///
    /// Another process writes as this rank: the message says which. Or its directory or its record can't be written.
    pub fn writer(&self) -> Result<ShardWriter, Error> {
        ShardWriter::begin(self)
    }
}

/// Takes the fingerprint of a file that ids and what belongs to them come from: its length, and the digest of all of
/// its bytes.
///
/// # Errors
///
/// The file can't be read.
pub fn input_of_file(path: &Path) -> Result<InputFingerprint, Error> {
    let failed = |error| Error::io(path, "read the input", error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut hasher, mut bytes, mut buffer) = (Hasher::new(Algorithm::Blake3), 0_u64, vec![0; 1 << 20]);
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        hasher.update(buffer.get(..read).unwrap_or_default());
        bytes = bytes.saturating_add(read as u64);
    }
    Ok(InputFingerprint::of_bytes(bytes, format!("{}:{}", Algorithm::Blake3, hasher.finish())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_of_their_world() {
        assert_eq!(Worker::new(2, 3).map(|worker| (worker.rank(), worker.world_size())).unwrap(), (2, 3));
        for (rank, world_size) in [(0, 0), (3, 3), (0, ExtractionRecord::MAX_RANKS + 1)] {
            assert!(Worker::new(rank, world_size).is_err(), "{rank} of {world_size}");
        }
    }

    #[test]
    fn a_file_is_told_by_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ids.txt");
        std::fs::write(&path, "a\nb\n").unwrap();
        let one = input_of_file(&path).unwrap();
        assert_eq!((one.count, one.of), (4, InputUnit::Bytes));
        assert_eq!(one.digest, format!("blake3:{}", Algorithm::Blake3.digest(b"a\nb\n")));
        std::fs::write(&path, "a\nc\n").unwrap();
        assert_ne!(input_of_file(&path).unwrap(), one);
        assert!(input_of_file(&directory.path().join("nothing")).is_err());
    }
}
