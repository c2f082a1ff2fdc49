//! The thread that saves shards, one after the other.

use std::any::Any;
use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use super::fill::Filled;
use super::layout::{self, Place};
use super::queue::Queue;
use super::shard::{self, Read};
use super::{Extraction, ExtractionOptions, ExtractionSummary, Worker, records};
use crate::Error;
use crate::io::commit::{Disk, DiskLock, Locked, clean, create_directories, take_lock};
use crate::manager::background::is_transient;
use crate::record::{ExtractionRecord, RankRecord, ShardRecord};
use crate::save::{SaveOptions, save_on};

/// Who saves the shards of a rank: the place, the lock, the record.
#[derive(Debug)]
pub(super) struct Saver {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    extraction: ExtractionRecord,
    options: ExtractionOptions,
    /// The number of the next shard.
    next: u64,
    record: RankRecord,
    summary: ExtractionSummary,
    _lock: Box<dyn DiskLock>,
}

/// Saves one shard after the other, until there will be none.
pub(super) fn run(queue: &Queue, mut saver: Saver) -> Saver {
    while let Some(filled) = queue.next() {
        let result = catch_unwind(AssertUnwindSafe(|| saver.save(filled)));
        queue.done(result.unwrap_or_else(|cause| Err(saver.panicked(&*cause))));
    }
    saver
}

impl Saver {
    /// Takes the rank's place: its directory, its lock, its record.
    pub(super) fn begin(extraction: &Extraction) -> Result<Self, Error> {
        let Extraction { disk, directory, worker, record, options } = extraction;
        let rank_directory = layout::rank_directory(directory, worker.rank());
        create_directories(&**disk, &rank_directory)?;
        let now = options.clock.now();
        let path = rank_directory.join(layout::LOCK);
        let lock = match take_lock(&**disk, &path, now) {
            Ok(Locked::Ours(lock)) => lock,
            Ok(Locked::Others(holder)) => {
                let rank = worker.rank();
                let message =
                    format!("another worker is rank {rank}: {holder}; wait for its end, or be another rank");
                return Err(Error::usage(message).at(path));
            }
            Err(error) => return Err(Error::io(path, "make the lock of the rank", error)),
        };
        clean(&**disk, &rank_directory);
        let mut saver = Self {
            disk: Arc::clone(disk),
            directory: directory.clone(),
            extraction: record.clone(),
            options: options.clone(),
            next: layout::next_batch(&**disk, directory, worker.rank())?,
            record: RankRecord::new(record.id.as_str(), worker.rank(), worker.world_size(), now),
            summary: ExtractionSummary { rank: worker.rank(), ..ExtractionSummary::default() },
            _lock: lock,
        };
        saver.adopt(*worker)?;
        saver.note()?;
        Ok(saver)
    }

    /// Brings the record up to what is there: a worker that was killed may have saved a shard and not noted it, and one
    /// that was noted may have been set aside.
    fn adopt(&mut self, worker: Worker) -> Result<(), Error> {
        let places = layout::shards_of(&*self.disk, &self.directory, worker.rank())?;
        let there: HashSet<&str> = places.iter().map(|place| place.name.as_str()).collect();
        let noted = records::read_rank(&*self.disk, &self.directory, worker.rank(), &self.extraction.id)?;
        let mut noted = noted.map_or_else(Vec::new, |record| record.batches);
        noted.retain(|shard| there.contains(shard.name.as_str()));
        let known: HashSet<String> = noted.iter().map(|shard| shard.name.clone()).collect();
        for place in places.iter().filter(|place| !known.contains(&place.name)) {
            if let Read::Good(shard) = shard::read(&place.path(&self.directory), &self.extraction)? {
                shard.mark(&*self.disk)?;
                let mut entry = ShardRecord::new(place.name.as_str(), place.batch, self.record.started);
                (entry.rows, entry.bytes, entry.proof) = (shard.ids.len() as u64, shard.bytes, shard.proof);
                noted.push(entry);
            }
        }
        noted.sort_unstable_by_key(|shard| shard.batch);
        self.record.batches = noted;
        // Counts the rows anew.
        self.record.retain(|_| true);
        Ok(())
    }

    /// Saves a shard, and notes it.
    fn save(&mut self, filled: Filled) -> Result<(), Error> {
        let (batch, rows) = (self.next, filled.ids.len() as u64);
        let place =
            Place { rank: self.record.rank, batch, name: layout::shard_name(batch, self.options.format) };
        // Whatever becomes of it: a shard that failed at the last moment may have its name.
        self.next = batch.saturating_add(1);
        let state = shard::state(filled, &self.extraction, &place)?;
        let path = place.path(&self.directory);
        // An attempt that failed at its end may have left the file under its name.
        let saved =
            self.attempt(|failed| save_on(&*self.disk, &path, &state, &self.save_options(failed > 0)))?;
        let mut entry = ShardRecord::new(place.name, batch, self.options.clock.now());
        (entry.rows, entry.bytes, entry.proof) = (rows, saved.bytes, saved.proof.id());
        self.record.add(entry);
        self.summary.shards += 1;
        self.summary.rows += rows;
        self.summary.bytes = self.summary.bytes.saturating_add(saved.bytes);
        self.note()
    }

    /// Returns how a shard is saved.
    fn save_options(&self, overwrite: bool) -> SaveOptions {
        let format = Some(self.options.format);
        SaveOptions { format, marker: true, overwrite, ..self.options.save.clone() }
    }

    /// Writes the rank's record.
    fn note(&self) -> Result<(), Error> {
        self.attempt(|_| records::write_rank(&*self.disk, &self.directory, &self.record))
    }

    /// Tries something until it is done, or there is no hope. It is told how often it has failed.
    fn attempt<T>(&self, mut work: impl FnMut(u32) -> Result<T, Error>) -> Result<T, Error> {
        let mut failed = 0;
        loop {
            let error = match work(failed) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            failed += 1;
            let Some(wait) = self.options.retry.delay(failed).filter(|_| is_transient(&error)) else {
                return Err(error);
            };
            self.options.clock.sleep(wait);
        }
    }

    /// Makes an error of a panic: the worker's rows are lost, and its process needn't be.
    fn panicked(&self, cause: &(dyn Any + Send)) -> Error {
        let text = cause.downcast_ref::<&str>().copied();
        let text = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
        let source = io::Error::other(format!("the writer panicked: {}", text.unwrap_or("without a word")));
        Error::io(layout::rank_directory(&self.directory, self.record.rank), "save a shard", source)
    }

    /// Notes that the rank is done.
    pub(super) fn finish(mut self) -> Result<ExtractionSummary, Error> {
        self.record.finished = true;
        self.record.updated = self.options.clock.now();
        self.note()?;
        Ok(self.summary)
    }
}
