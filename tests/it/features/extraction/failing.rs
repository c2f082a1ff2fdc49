//! Shards that can't be saved: nobody misses that, and nothing else is lost.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ckpt::features::extraction::{Extraction, ExtractionOptions, ShardWriter, Worker};
use ckpt::record::InputFingerprint;
use ckpt::save::scrub::Clock as _;

use super::disk::FullDisk;
use super::{StillClock, aggregated, assert_all, extract, ids, model, open, options, push_all, rows, shards};

fn on(disk: &Arc<FullDisk>, directory: &Path, ids: &[String], options: ExtractionOptions) -> ShardWriter {
    let worker = Worker::new(0, 1).unwrap();
    let disk = Arc::clone(disk);
    let input = InputFingerprint::of_ids(ids);
    Extraction::open_on(disk, directory, worker, input, &model(), options).unwrap().writer().unwrap()
}

#[test]
fn every_later_call_tells_of_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(20);
    let extraction = open(directory.path(), (0, 1), &ids, options());
    let mut writer = extraction.writer().unwrap();
    push_all(&mut writer, &ids[..6]);
    writer.flush().unwrap();
    // Its lock stays its own, whatever becomes of the directory.
    fs::rename(directory.path().join("shard_0"), directory.path().join("elsewhere")).unwrap();
    writer.push(&ids[6..12], &rows(&ids[6..12])).unwrap();
    let first = writer.flush().unwrap_err().to_string();
    assert!(first.contains("batch_1.safetensors") && first.contains("its ids are still to do"), "{first}");
    for error in [
        writer.push(&ids[12..13], &rows(&ids[12..13])).unwrap_err(),
        writer.tick().unwrap_err(),
        writer.begin_batch().unwrap_err(),
        writer.flush().unwrap_err(),
        writer.finish().unwrap_err(),
    ] {
        assert_eq!(error.to_string(), first);
    }
    fs::rename(directory.path().join("elsewhere"), directory.path().join("shard_0")).unwrap();
    assert_eq!(assert_all(directory.path(), &ids).done, 6);
    extract(directory.path(), (0, 1), &ids, options());
    aggregated(directory.path(), &ids);
}

#[test]
fn a_full_disk_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (ids, clock) = (ids(6), StillClock::default());
    let disk = Arc::new(FullDisk::new(3));
    let mut writer = on(&disk, directory.path(), &ids, options().with_clock(Arc::new(clock.clone())));
    push_all(&mut writer, &ids);
    assert_eq!((writer.finish().unwrap().shards, disk.left()), (1, 0));
    assert_eq!(clock.elapsed(), Duration::from_secs(1 + 2 + 4));
    assert_eq!(shards(directory.path()), [[6]]);
}

#[test]
fn a_disk_that_stays_full_is_an_error_that_says_how_full() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(6);
    let disk = Arc::new(FullDisk::new(5));
    let mut writer = on(&disk, directory.path(), &ids, options().with_clock(Arc::new(StillClock::default())));
    push_all(&mut writer, &ids);
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("17") && error.contains("batch_0.safetensors"), "{error}");
    assert_eq!(assert_all(directory.path(), &ids).ids, ids);
    let left: Vec<_> = fs::read_dir(directory.path().join("shard_0"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("batch_")), "{left:?}");
}

#[test]
fn a_panic_is_an_error_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(6);
    let mut options = options();
    options.save = options.save.with_progress(|_| panic!("no progress"));
    let mut writer = open(directory.path(), (0, 1), &ids, options).writer().unwrap();
    push_all(&mut writer, &ids);
    let error = writer.flush().unwrap_err().to_string();
    assert!(error.contains("panicked"), "{error}");
    drop(writer);
    assert_eq!(assert_all(directory.path(), &ids).ids, ids);
}
