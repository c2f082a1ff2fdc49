//! Features in shards: rows by id, saved by many workers while they make them.
//!
//! A worker (a **rank**) makes rows of numbers for ids, batch by batch, and pushes them into its [`ShardWriter`]. When
//! there are enough of them, or the oldest has waited long enough, they become a **shard**: a file of its own that
//! proves itself, saved in the background. A job that was killed goes on with the ids that aren't in any shard that
//! verifies, with as many workers as there are then. In the end [`aggregate()`] makes one file of all shards.
//!
//! `docs/features.md` has the directory, file by file, and the order in which things are committed.
//!
//! | module | has |
//! |---|---|
//! | `front` | an extraction as a worker opens it; who may |
//! | `layout` | what lies where, and under which names |
//! | `shard` | one shard: as a state to save, and read back |
//! | `trigger`, `fill` | when the rows at hand are due; the rows at hand |
//! | `writer`, `queue`, `worker` | the door of a worker; what it shares with its thread; the thread |
//! | `records` | what the ranks say of themselves |
//! | `todo`, `aside` | the ids that are still to do; damaged shards, out of the way |
//! | `aggregate` | one file of all shards |
//!
//! ```
//! # let directory = tempfile::tempdir()?;
//! # let (shards, out) = (directory.path().join("esm"), directory.path().join("esm.safetensors"));
//! use ckpt::Dtype;
//! use ckpt::features::extraction::{AggregateOptions, Extraction, ExtractionOptions, Worker, aggregate};
//! use ckpt::record::{InputFingerprint, ModelConfig};
//! use ckpt::tensor::TensorView;
//!
//! let ids = ["P1", "P2", "P3"].map(str::to_owned);
//! let model = ModelConfig::of(&serde_json::json!({"model": "esm2_t33", "dtype": "float32"}))?;
//! let worker = Worker::new(0, 1)?;
//! let options = ExtractionOptions::default().with_rows(10_000);
//! let extraction = Extraction::open(&shards, worker, InputFingerprint::of_ids(&ids), &model, options)?;
//!
//! let todo = extraction.todo(&ids)?;
//! let mut writer = extraction.writer()?;
//! for batch in todo.for_rank(worker).chunks(2) {
//!     let rows: Vec<u8> = batch.iter().flat_map(|_| [0_u8; 8]).collect(); // what the model makes of them
//!     writer.push(batch, &TensorView::new(Dtype::F32, [batch.len() as u64, 2], rows)?)?;
//! }
//! let summary = writer.finish()?;
//! assert_eq!((summary.rows, extraction.todo(&ids)?.ids.len()), (3, 0));
//!
//! let aggregated = aggregate(&shards, Some(&ids), &out, &AggregateOptions::default())?;
//! assert_eq!((aggregated.rows, aggregated.missing), (3, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod aside;
mod fill;
mod front;
mod layout;
mod options;
mod queue;
mod records;
mod shard;
mod todo;
mod trigger;
mod worker;
mod writer;

pub use aggregate::{AggregateOptions, aggregate, aggregate_on};
pub use front::{Extraction, Worker, input_of_file};
pub use options::ExtractionOptions;
pub use records::manifest;
pub use todo::{Todo, todo};
pub use writer::{ExtractionSummary, ShardWriter};
