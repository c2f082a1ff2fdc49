//! One file of all shards.

use std::fs;
use std::path::Path;

use ckpt::features::extraction::{AggregateOptions, aggregate};
use ckpt::record::Aggregated;
use ckpt::tensor::TensorView;
use ckpt::{Dtype, Error, ErrorKind, LoadOptions, load};

use super::{aggregated, extract, ids, open, options, push_all, row, shard};

fn make(directory: &Path, ids: Option<&[String]>, options: &AggregateOptions) -> Result<Aggregated, Error> {
    aggregate(directory, ids, &directory.join("out.safetensors"), options)
}

/// Returns the ids and the rows of a file.
fn read(path: &Path) -> (Vec<String>, Vec<u8>) {
    let state = load(path, &LoadOptions::default()).unwrap();
    let data = state.tensor("data").unwrap();
    let count = data.shape()[0];
    let id = |number| state.value(&format!("ids.{number}")).unwrap().as_str().unwrap().to_owned();
    assert!(state.value(&format!("ids.{count}")).is_none());
    ((0..count).map(id).collect(), data.bytes().unwrap().into_owned())
}

fn rows_of(ids: &[String]) -> Vec<u8> {
    ids.iter().flat_map(|id| row(id)).collect()
}

#[test]
fn the_order_is_the_input_s_and_the_bytes_are_the_same_however_it_was_made() {
    let ids = ids(50);
    let mut files = Vec::new();
    for (world, rows) in [(1, 100), (3, 5), (4, 1)] {
        let directory = tempfile::tempdir().unwrap();
        for rank in (0..world).rev() {
            extract(directory.path(), (rank, world), &ids, options().with_rows(rows));
        }
        files.push(aggregated(directory.path(), &ids));
        assert_eq!(read(&directory.path().join("out.safetensors")), (ids.clone(), rows_of(&ids)));
        let torch = directory.path().join("out.pt");
        aggregate(directory.path(), Some(&ids), &torch, &AggregateOptions::default()).unwrap();
        assert_eq!(read(&torch), (ids.clone(), rows_of(&ids)));
    }
    assert!(files.iter().all(|file| *file == files[0]));
}

#[test]
fn more_shards_than_are_open_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(230);
    extract(directory.path(), (0, 1), &ids, options().with_rows(1));
    // From the last to the first, and back: none is where the one before it was.
    let mixed: Vec<_> = ids.iter().rev().step_by(2).chain(ids.iter().step_by(2)).cloned().collect();
    make(directory.path(), Some(&mixed), &AggregateOptions::default()).unwrap();
    assert_eq!(read(&directory.path().join("out.safetensors")), (mixed.clone(), rows_of(&mixed)));
}

#[test]
fn missing_ids_are_an_error_or_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(30);
    let out = directory.path().join("out.safetensors");
    extract(directory.path(), (0, 3), &ids, options());
    let error = make(directory.path(), Some(&ids), &AggregateOptions::default()).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Incompatible && error.to_string().contains("20 ids have no row"),
        "{error}"
    );
    assert!(error.to_string().contains("the first is 'seq-0001'"), "{error}");
    let error = make(directory.path(), None, &AggregateOptions::default()).unwrap_err();
    assert!(error.to_string().contains("20 ids have no row"), "{error}");
    assert!(!out.exists());
    let found = make(directory.path(), Some(&ids), &AggregateOptions::default().allow_missing()).unwrap();
    assert_eq!((found.rows, found.missing, found.missing_ids[0].as_str()), (10, 20, "seq-0001"));
    let there: Vec<_> = ids.iter().step_by(3).cloned().collect();
    assert_eq!(read(&out), (there.clone(), rows_of(&there)));
    let found = make(directory.path(), None, &AggregateOptions::default().allow_missing()).unwrap();
    assert_eq!((found.rows, found.missing, found.missing_ids.len()), (10, 20, 0));
    assert_eq!(read(&out).0, there);
}

#[test]
fn a_damaged_shard_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(12);
    extract(directory.path(), (0, 1), &ids, options());
    let path = shard(directory.path(), 0, 1);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = make(directory.path(), Some(&ids), &AggregateOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("6 ids have no row") && error.contains("shard_0/batch_1.safetensors is damaged"),
        "{error}"
    );
    let found = make(directory.path(), Some(&ids), &AggregateOptions::default().allow_missing()).unwrap();
    assert_eq!((found.rows, found.damaged.len(), found.damaged[0].moved_to.as_ref()), (6, 1, None));
    assert!(path.exists(), "it is for a worker to set it aside");
}

#[test]
fn duplicates_and_strangers_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(4);
    extract(directory.path(), (0, 1), &ids, options());
    let mut writer = open(directory.path(), (1, 2), &ids, options()).writer().unwrap();
    push_all(&mut writer, &ids[..2]);
    let other = [7; 24];
    let stranger = ["seq-0003".to_owned(), "stranger".to_owned()];
    writer.push(&stranger, &TensorView::new(Dtype::F32, [2, 3], &other[..]).unwrap()).unwrap();
    writer.finish().unwrap();
    let found = make(directory.path(), Some(&ids), &AggregateOptions::default()).unwrap();
    assert_eq!((found.rows, found.shards, found.missing), (4, 2, 0));
    assert_eq!((found.duplicates, found.differing, found.unlisted), (3, 1, 1));
    assert_eq!(found.duplicate_ids, ["seq-0000", "seq-0001", "seq-0003"]);
    assert_eq!(
        (found.differing_ids, found.unlisted_ids),
        (vec!["seq-0003".to_owned()], vec!["stranger".to_owned()])
    );
    // The first one counts.
    assert_eq!(read(&directory.path().join("out.safetensors")), (ids.clone(), rows_of(&ids)));
    let twice = [&ids[..], &ids[1..2]].concat();
    let error = make(directory.path(), Some(&twice), &AggregateOptions::default()).unwrap_err();
    assert!(error.to_string().contains("'seq-0001' twice"), "{error}");
}

#[test]
fn rows_of_two_kinds_make_no_tensor_and_no_rows_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(4);
    let extraction = open(directory.path(), (0, 2), &ids, options());
    let error = make(directory.path(), Some(&ids), &AggregateOptions::default().allow_missing()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Nothing);
    let mut writer = extraction.writer().unwrap();
    push_all(&mut writer, &ids[..2]);
    writer.finish().unwrap();
    let mut writer = open(directory.path(), (1, 2), &ids, options()).writer().unwrap();
    writer.push(&ids[2..], &TensorView::new(Dtype::F16, [2, 3], vec![0; 12]).unwrap()).unwrap();
    writer.finish().unwrap();
    let error = make(directory.path(), Some(&ids), &AggregateOptions::default()).unwrap_err().to_string();
    assert!(error.contains("shard_1/batch_0.safetensors") && error.contains("f16"), "{error}");
}
