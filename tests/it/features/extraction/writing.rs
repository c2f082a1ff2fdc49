//! When shards are saved, and by whom.

use std::sync::Arc;
use std::time::Duration;

use ckpt::features::extraction::{Extraction, ExtractionOptions, Worker, manifest};
use ckpt::record::{InputFingerprint, ModelConfig};
use ckpt::save::Format;
use ckpt::tensor::{Data, Node, Source, TensorView};
use ckpt::{Access, Dtype, Error, ErrorKind, LoadOptions, Verdict, VerifyOptions, load, verify};

use super::{
    ROW_BYTES, StillClock, aggregated, extract, ids, model, open, options, push_all, row, rows, shard, shards,
};

fn timed(clock: &StillClock) -> ExtractionOptions {
    options().with_time(Duration::from_mins(1)).with_clock(Arc::new(clock.clone()))
}

#[test]
fn enough_rows_make_a_shard_and_a_batch_is_never_split() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(14);
    extract(directory.path(), (0, 1), &ids, options());
    // Of batches of two, three have five rows or more.
    assert_eq!(shards(directory.path()), [[6, 6, 2]]);
    let manifest = manifest(directory.path()).unwrap();
    assert!(manifest.is_finished() && manifest.unrecorded.is_empty() && manifest.absent.is_empty());
}

#[test]
fn a_shard_proves_itself_and_is_an_ordinary_checkpoint() {
    for format in [Format::Safetensors, Format::Torch] {
        let directory = tempfile::tempdir().unwrap();
        let ids = ids(3);
        extract(directory.path(), (0, 1), &ids, options().with_format(format));
        let name = &manifest(directory.path()).unwrap().ranks[0].batches[0].name;
        let path = directory.path().join("shard_0").join(name);
        let mut verified = VerifyOptions::default();
        verified.require_marker = true;
        assert_eq!(verify(&path, &verified).verdict, Verdict::Valid);
        let state = load(&path, &LoadOptions::default().with_access(Access::Eager)).unwrap();
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(state.value(&format!("ids.{number}")).and_then(Node::as_str), Some(id.as_str()));
        }
        let data = state.tensor("data").unwrap();
        assert_eq!((data.dtype(), data.shape()), (Dtype::F32, &[3, 3][..]));
        assert_eq!(*data.bytes().unwrap(), ids.iter().flat_map(|id| row(id)).collect::<Vec<u8>>());
        assert_eq!(state.value("extraction.rank").and_then(Node::as_i64), Some(0));
    }
}

#[test]
fn time_makes_a_shard() {
    let directory = tempfile::tempdir().unwrap();
    let (ids, clock) = (ids(100), StillClock::default());
    let extraction = open(directory.path(), (0, 1), &ids, timed(&clock).with_rows(1000));
    let mut writer = extraction.writer().unwrap();
    push_all(&mut writer, &ids[..2]);
    clock.advance(59);
    writer.tick().unwrap();
    push_all(&mut writer, &ids[2..4]);
    clock.advance(1);
    writer.tick().unwrap();
    push_all(&mut writer, &ids[4..6]);
    clock.advance(60);
    // It is due, and what comes now is no part of it.
    push_all(&mut writer, &ids[6..8]);
    let summary = writer.finish().unwrap();
    assert_eq!(shards(directory.path()), [[4, 2, 2]]);
    assert_eq!((summary.rank, summary.shards, summary.rows), (0, 3, 8));
}

#[test]
fn a_batch_in_parts_is_one_until_it_is_an_emergency() {
    let directory = tempfile::tempdir().unwrap();
    let (ids, clock) = (ids(100), StillClock::default());
    let mut writer = open(directory.path(), (0, 1), &ids, timed(&clock)).writer().unwrap();
    assert!(writer.end_batch().is_err());
    writer.begin_batch().unwrap();
    assert!(writer.begin_batch().is_err());
    push_all(&mut writer, &ids[..20]);
    clock.advance(179);
    writer.tick().unwrap();
    push_all(&mut writer, &ids[20..22]);
    writer.end_batch().unwrap();
    writer.begin_batch().unwrap();
    push_all(&mut writer, &ids[22..25]);
    clock.advance(180);
    writer.tick().unwrap();
    push_all(&mut writer, &ids[25..27]);
    writer.end_batch().unwrap();
    writer.finish().unwrap();
    assert_eq!(shards(directory.path()), [[22, 3, 2]]);
}

#[test]
fn rows_before_a_batch_are_no_part_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (ids, clock) = (ids(100), StillClock::default());
    let mut writer = open(directory.path(), (0, 1), &ids, timed(&clock)).writer().unwrap();
    push_all(&mut writer, &ids[..2]);
    clock.advance(60);
    writer.begin_batch().unwrap();
    push_all(&mut writer, &ids[2..4]);
    writer.flush().unwrap();
    push_all(&mut writer, &ids[4..5]);
    writer.finish().unwrap();
    assert_eq!(shards(directory.path()), [[2, 2, 1]]);
}

#[test]
fn rows_of_a_worker_that_hangs_are_saved_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(10);
    let extraction = open(directory.path(), (0, 1), &ids, options().with_time(Duration::from_millis(1)));
    let mut writer = extraction.writer().unwrap();
    writer.push(&ids[..3], &rows(&ids[..3])).unwrap();
    // Nothing is called any more.
    while extraction.manifest().unwrap().rows() < 3 {
        std::thread::yield_now();
    }
    drop(writer);
    assert_eq!(shards(directory.path()), [[3]]);
    assert!(!extraction.manifest().unwrap().is_finished());
}

/// Rows that look, when they are copied, how many shards are saved.
struct Watched<'d> {
    bytes: Vec<u8>,
    number: usize,
    directory: &'d std::path::Path,
}

impl Source for Watched<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        // Before this one is copied, one is filled or waits at most, and one is being written.
        for before in 0..self.number.saturating_sub(1) {
            assert!(shard(self.directory, 0, before as u64).exists(), "{before} of {}", self.number);
        }
        self.bytes.read_at(buffer, offset)
    }
}

#[test]
fn no_more_shards_are_in_memory_than_may_be() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(30);
    let mut writer = open(directory.path(), (0, 1), &ids, options().with_rows(1)).writer().unwrap();
    for (number, id) in ids.iter().enumerate() {
        let watched = Watched { bytes: row(id), number, directory: directory.path() };
        let view = TensorView::new(Dtype::F32, [1, 3], Data::new(Arc::new(watched))).unwrap();
        writer.push(&[id], &view).unwrap();
    }
    assert_eq!(writer.finish().unwrap().shards, 30);
}

#[test]
fn a_rank_is_one_worker_s() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(4);
    let first = open(directory.path(), (0, 2), &ids, options());
    let writer = first.writer().unwrap();
    let error = open(directory.path(), (0, 2), &ids, options()).writer().unwrap_err();
    let who = format!("another worker is rank 0: process {}", std::process::id());
    assert!(error.to_string().contains(&who), "{error}");
    open(directory.path(), (1, 2), &ids, options()).writer().unwrap().finish().unwrap();
    writer.finish().unwrap();
    first.writer().unwrap().finish().unwrap();
}

#[test]
fn workers_that_begin_at_once_agree() {
    let ids = ids(64);
    for _ in 0..5 {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("a/b");
        std::thread::scope(|scope| {
            for rank in 0..8 {
                let (directory, ids) = (&directory, &ids);
                scope.spawn(move || extract(directory, (rank, 8), ids, options()));
            }
        });
        let manifest = manifest(&directory).unwrap();
        assert_eq!((manifest.rows(), manifest.ranks.len(), manifest.is_finished()), (64, 8, true));
        assert!(manifest.ranks.iter().all(|rank| rank.extraction == manifest.extraction.id));
        aggregated(&directory, &ids);
    }
}

#[test]
fn what_was_made_in_another_way_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(4);
    let worker = Worker::new(0, 1).unwrap();
    let open =
        |input, model: &ModelConfig| Extraction::open(directory.path(), worker, input, model, options());
    open(InputFingerprint::of_ids(&ids), &model()).unwrap();
    let other = serde_json::json!({"model": "esm2", "dtype": "float16", "packing": {"max": 2048}});
    let error = open(InputFingerprint::of_ids(&ids), &ModelConfig::of(&other).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    let text = error.to_string();
    for part in ["dtype is \"float16\" here and \"float32\" there", "packing.max is 2048 here and 4096 there"]
    {
        assert!(text.contains(part), "{text}");
    }
    let error = open(InputFingerprint::of_ids(&ids[1..]), &model()).unwrap_err();
    assert!(error.kind() == ErrorKind::Incompatible && error.to_string().contains("here 3 ids"), "{error}");
    let error = open(InputFingerprint::of_ids(&ids), &model()).unwrap().todo(&ids[1..]).unwrap_err();
    assert!(error.to_string().contains("aren't those of the extraction"), "{error}");
    std::fs::write(directory.path().join("extraction.json"), "{\"schema\":\"ckpt.extraction/7\"}").unwrap();
    let error = open(InputFingerprint::of_ids(&ids), &model()).unwrap_err();
    assert!(error.to_string().contains("upgrade ckpt"), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(4);
    let worker = Worker::new(0, 1).unwrap();
    let flat = options().with_format(Format::TorchFlat);
    let input = InputFingerprint::of_ids(&ids);
    assert!(Extraction::open(directory.path(), worker, input, &model(), flat).is_err());
    let mut writer = open(directory.path(), (0, 1), &ids, options()).writer().unwrap();
    assert!(writer.push(&ids[..1], &rows(&ids[..2])).is_err());
    writer.push(&ids[..0], &rows(&ids[..0])).unwrap();
    writer.push(&ids[..2], &rows(&ids[..2])).unwrap();
    let half = TensorView::new(Dtype::F16, [2, 3], vec![0; ROW_BYTES]).unwrap();
    assert!(writer.push(&ids[2..4], &half).is_err());
    // What was refused wasn't taken, and the writer goes on.
    writer.push(&ids[2..4], &rows(&ids[2..4])).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 4);
    let nothing = open(directory.path(), (0, 1), &ids, options()).writer().unwrap();
    assert_eq!(nothing.finish().unwrap().shards, 0);
}
