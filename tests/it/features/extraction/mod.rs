//! Features in shards: saved by many workers, resumed, put together.

mod aggregating;
mod disk;
mod failing;
mod kill;
mod property;
mod python;
mod resuming;
mod writing;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckpt::features::extraction::{
    AggregateOptions, Extraction, ExtractionOptions, ShardWriter, Todo, Worker, aggregate, manifest, todo,
};
use ckpt::io::commit::Durability;
use ckpt::record::{InputFingerprint, ModelConfig};
use ckpt::save::scrub::Clock;
use ckpt::tensor::TensorView;
use ckpt::{Dtype, SaveOptions};
use jiff::Timestamp;

/// The bytes of a row.
const ROW_BYTES: usize = 12;

/// Makes so many ids.
fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("seq-{number:04}")).collect()
}

/// What the model makes of an id.
fn row(id: &str) -> Vec<u8> {
    ckpt::digest::Algorithm::Blake3.digest(id.as_bytes()).as_bytes()[..ROW_BYTES].to_vec()
}

/// What it makes of a batch: three numbers each.
fn rows(batch: &[String]) -> TensorView<'static> {
    let bytes: Vec<u8> = batch.iter().flat_map(|id| row(id)).collect();
    TensorView::new(Dtype::F32, [batch.len() as u64, 3], bytes).unwrap()
}

fn model() -> ModelConfig {
    ModelConfig::of(&serde_json::json!({"model": "esm2", "dtype": "float32", "packing": {"max": 4096}}))
        .unwrap()
}

/// Options of shards that don't wait for the device.
fn options() -> ExtractionOptions {
    let save = SaveOptions::default().with_threads(1).with_durability(Durability::None).without_validation();
    ExtractionOptions::default().with_rows(5).with_save(save)
}

fn open(
    directory: &Path,
    (rank, world): (u32, u32),
    ids: &[String],
    options: ExtractionOptions,
) -> Extraction {
    let worker = Worker::new(rank, world).unwrap();
    Extraction::open(directory, worker, InputFingerprint::of_ids(ids), &model(), options).unwrap()
}

/// Extracts what is a rank's to do, in batches of two.
fn extract(directory: &Path, worker: (u32, u32), ids: &[String], options: ExtractionOptions) -> Todo {
    let extraction = open(directory, worker, ids, options);
    let todo = extraction.todo(ids).unwrap();
    let mut writer = extraction.writer().unwrap();
    push_all(&mut writer, &todo.for_rank(extraction.worker()));
    writer.finish().unwrap();
    todo
}

fn push_all(writer: &mut ShardWriter, ids: &[String]) {
    for batch in ids.chunks(2) {
        writer.push(batch, &rows(batch)).unwrap();
    }
}

/// Returns how many rows each shard has, by rank and number.
fn shards(directory: &Path) -> Vec<Vec<u64>> {
    let manifest = manifest(directory).unwrap();
    manifest.ranks.iter().map(|rank| rank.batches.iter().map(|shard| shard.rows).collect()).collect()
}

/// Returns the path of a shard.
fn shard(directory: &Path, rank: u32, batch: u64) -> PathBuf {
    directory.join(format!("shard_{rank}/batch_{batch}.safetensors"))
}

/// Returns the file that is made of all shards, as bytes.
fn aggregated(directory: &Path, ids: &[String]) -> Vec<u8> {
    let out = directory.join("out.safetensors");
    let found = aggregate(directory, Some(ids), &out, &AggregateOptions::default()).unwrap();
    assert_eq!((found.rows, found.missing, found.unlisted), (ids.len() as u64, 0, 0));
    assert_eq!((found.duplicates, found.differing, found.damaged.len()), (0, 0, 0));
    fs::read(out).unwrap()
}

/// Asserts that what is done and what is to do are all ids, and each is one of them alone.
fn assert_all(directory: &Path, ids: &[String]) -> Todo {
    let todo = todo(directory, ids).unwrap();
    assert_eq!(todo.done + todo.ids.len() as u64, ids.len() as u64);
    assert_eq!(todo.rows, todo.done, "no id is there twice");
    todo
}

/// A clock that goes when it is told to.
#[derive(Clone, Debug, Default)]
struct StillClock(Arc<Mutex<Duration>>);

impl StillClock {
    fn advance(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}
