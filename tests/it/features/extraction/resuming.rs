//! What is still to do, whatever became of the shards.

use std::fs;
use std::path::Path;

use ckpt::features::extraction::{manifest, todo};
use ckpt::save::Format;
use ckpt::{Code, ErrorKind, Verdict};

use super::{aggregated, assert_all, extract, ids, open, options, push_all, shard, shards};

/// A way to lose a shard.
type Way = (&'static str, fn(&Path));

const WAYS: [Way; 5] = [
    ("a flipped bit", |path| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 4;
        fs::write(path, bytes).unwrap();
    }),
    ("truncated", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("emptied", |path| fs::write(path, b"").unwrap()),
    ("zeros", |path| fs::write(path, vec![0; fs::read(path).unwrap().len()]).unwrap()),
    ("something else", |path| fs::write(path, b"<html>502</html>").unwrap()),
];

#[test]
fn only_the_ids_of_a_damaged_shard_are_to_do_again() {
    let whole = tempfile::tempdir().unwrap();
    let ids = ids(40);
    extract(whole.path(), (0, 1), &ids, options());
    let expected = aggregated(whole.path(), &ids);
    for (way, damage) in WAYS {
        let directory = tempfile::tempdir().unwrap();
        for rank in 0..2 {
            extract(directory.path(), (rank, 2), &ids, options());
        }
        let path = shard(directory.path(), 1, 1);
        damage(&path);
        let damaged = fs::read(&path).unwrap();
        // Rank 1 has every second id, and six to a shard.
        let lost: Vec<_> = ids.iter().skip(1).step_by(2).skip(6).take(6).cloned().collect();
        let looked = todo(directory.path(), &ids).unwrap();
        assert_eq!((&looked.ids, looked.done), (&lost, 34), "{way}");
        assert_eq!((looked.set_aside.len(), looked.set_aside[0].moved_to.as_ref()), (1, None));
        assert!(path.exists(), "who only looks changes nothing");

        let found = open(directory.path(), (0, 3), &ids, options()).todo(&ids).unwrap();
        assert_eq!(found.ids, lost, "{way}");
        let set_aside = &found.set_aside[0];
        assert_eq!((set_aside.shard.as_str(), found.set_aside.len()), ("shard_1/batch_1.safetensors", 1));
        assert_ne!(set_aside.finding.verdict, Verdict::Valid);
        let aside = path.with_file_name(set_aside.moved_to.as_ref().unwrap());
        assert!(aside.to_str().unwrap().contains("batch_1.safetensors.corrupt-"));
        assert_eq!(fs::read(aside).unwrap(), damaged);
        assert!(!path.exists() && !directory.path().join("shard_1/batch_1.safetensors.done").exists());
        for rank in 0..3 {
            assert_eq!(extract(directory.path(), (rank, 3), &ids, options()).set_aside.len(), 0);
        }
        assert_eq!(assert_all(directory.path(), &ids).ids, [""; 0]);
        assert_eq!(aggregated(directory.path(), &ids), expected, "{way}");
    }
}

#[test]
fn workers_that_look_at_once_set_each_damaged_shard_aside_once() {
    let ids = ids(60);
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        extract(directory.path(), (0, 1), &ids, options());
        for batch in 0..10 {
            WAYS[0].1(&shard(directory.path(), 0, batch));
        }
        std::thread::scope(|scope| {
            for rank in 0..4 {
                let extraction = open(directory.path(), (rank, 4), &ids, options());
                let ids = &ids;
                scope.spawn(move || assert_eq!(extraction.todo(ids).unwrap().ids, *ids));
            }
        });
        let names = fs::read_dir(directory.path().join("shard_0")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(names.iter().filter(|name| name.contains(".corrupt-")).count(), 10, "{names:?}");
        assert_eq!(names.iter().filter(|name| name.starts_with("batch_")).count(), 10, "{names:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_shard_is_found() {
    for format in [Format::Safetensors, Format::Torch] {
        let directory = tempfile::tempdir().unwrap();
        let ids = ids(3);
        extract(directory.path(), (0, 1), &ids, options().with_format(format));
        let name = manifest(directory.path()).unwrap().ranks[0].batches[0].name.clone();
        let path = directory.path().join("shard_0").join(name);
        let bytes = fs::read(&path).unwrap();
        let mut refused = 0;
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, changed).unwrap();
            match todo(directory.path(), &ids) {
                Ok(todo) => assert_eq!((todo.ids.len(), todo.set_aside.len()), (3, 1), "byte {at}"),
                Err(error) => {
                    // Whatever the proof is of, a later version may know it.
                    assert_eq!(
                        error.finding().map(|finding| finding.code),
                        Some(Code::ProofUnknown),
                        "{error}"
                    );
                    refused += 1;
                }
            }
        }
        assert!(refused < 20, "{refused} of {}", bytes.len());
        fs::write(&path, bytes).unwrap();
        assert_eq!(todo(directory.path(), &ids).unwrap().ids.len(), 0);
    }
}

#[test]
fn a_shard_counts_by_itself_whatever_the_records_say() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(12);
    extract(directory.path(), (0, 1), &ids, options());
    let record = directory.path().join("shard_0/rank.json");
    let marker = directory.path().join("shard_0/batch_1.safetensors.done");
    let text = fs::read_to_string(&record).unwrap();
    for broken in ["", "{", "{\"schema\":\"ckpt.extraction-rank/1\"}", &text[..text.len() / 2]] {
        fs::write(&record, broken).unwrap();
        fs::remove_file(&marker).unwrap();
        let seen = manifest(directory.path()).unwrap();
        assert_eq!((seen.damaged.as_slice(), seen.rows(), seen.unrecorded.len()), (&[0][..], 0, 2));
        let extraction = open(directory.path(), (0, 1), &ids, options());
        assert_eq!(extraction.todo(&ids).unwrap().done, 12);
        assert!(marker.exists(), "its worker was killed before it made it");
        // The rank's next worker writes down what is there.
        drop(extraction.writer().unwrap());
        assert_eq!(shards(directory.path()), [[6, 6]]);
        assert!(manifest(directory.path()).unwrap().unrecorded.is_empty());
    }
    fs::write(&record, "{\"schema\":\"ckpt.extraction-rank/2\"}").unwrap();
    assert!(manifest(directory.path()).unwrap_err().to_string().contains("upgrade ckpt"));
}

#[test]
fn a_damaged_record_of_the_whole_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(12);
    extract(directory.path(), (0, 1), &ids, options());
    let path = directory.path().join("extraction.json");
    let id = open(directory.path(), (0, 1), &ids, options()).id().to_owned();
    fs::write(&path, "half of").unwrap();
    let error = manifest(directory.path()).unwrap_err();
    assert_eq!(
        (error.kind(), error.path()),
        (ErrorKind::Corrupted, Some(fs::canonicalize(&path).unwrap().as_path()))
    );
    let extraction = open(directory.path(), (0, 1), &ids, options());
    assert_eq!((extraction.id(), extraction.todo(&ids).unwrap().done), (id.as_str(), 12));
    let aside = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut aside = aside.filter(|path| path.to_str().unwrap().contains("extraction.json.corrupt-"));
    assert_eq!(fs::read(aside.next().unwrap()).unwrap(), b"half of");
}

#[test]
fn a_shard_of_another_extraction_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ids, others) = (ids(6), ids(7));
    extract(one.path(), (0, 1), &ids, options());
    extract(other.path(), (0, 1), &others, options());
    fs::copy(shard(other.path(), 0, 0), shard(one.path(), 0, 9)).unwrap();
    let error = todo(one.path(), &ids).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Incompatible && error.to_string().contains("another extraction"),
        "{error}"
    );
    // Its own shards are those of any directory.
    fs::rename(shard(one.path(), 0, 9), one.path().join("elsewhere")).unwrap();
    assert_eq!(todo(one.path(), &ids).unwrap().done, 6);
    let error = todo(&one.path().join("nothing"), &ids).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Nothing);
}

#[test]
fn what_lies_about_is_no_shard() {
    let directory = tempfile::tempdir().unwrap();
    let ids = ids(6);
    extract(directory.path(), (0, 1), &ids, options());
    fs::create_dir(directory.path().join("shard_x")).unwrap();
    fs::create_dir(directory.path().join("shard_00")).unwrap();
    fs::write(directory.path().join("shard_7"), "a file").unwrap();
    for name in ["batch_x.pt", "batch_3.tmp", ".ckpt-0123456789abcdef.tmp", "notes.txt"] {
        fs::write(directory.path().join("shard_0").join(name), "x").unwrap();
    }
    assert_eq!(todo(directory.path(), &ids).unwrap().done, 6);
    assert_eq!(shards(directory.path()), [[6]]);
    let mut writer = open(directory.path(), (0, 1), &ids, options()).writer().unwrap();
    push_all(&mut writer, &ids[..1]);
    writer.finish().unwrap();
    assert!(shard(directory.path(), 0, 4).exists(), "behind all numbers that were ever there");
}
