//! `ckpt features`: what an extraction has, what is to do, one file of it.

use std::fs;
use std::time::Duration;

use ckpt::features::extraction::{Extraction, ExtractionOptions, Worker};
use ckpt::io::commit::Durability;
use ckpt::record::{Aggregated, InputFingerprint, ModelConfig};
use ckpt::tensor::TensorView;
use ckpt::{Dtype, SaveOptions};

use super::strict::is_described;
use super::{Place, Run, anonymous};

fn ids() -> Vec<String> {
    (0..12).map(|number| format!("seq-{number:02}")).collect()
}

/// Has these ranks of three extract what is theirs, into `shards`.
fn extracted(ranks: &[u32]) -> Place {
    let place = Place::with(&[]);
    place.write("ids.txt", (ids().join("\n") + "\n").as_bytes());
    let model = ModelConfig::of(&serde_json::json!({"dtype": "float32"})).unwrap();
    for rank in ranks {
        let save = SaveOptions::default().with_durability(Durability::None);
        let options = ExtractionOptions::default().with_rows(2).with_save(save);
        let worker = Worker::new(*rank, 3).unwrap();
        let input = InputFingerprint::of_ids(ids());
        let extraction = Extraction::open(&place.at("shards"), worker, input, &model, options).unwrap();
        let mut writer = extraction.writer().unwrap();
        for id in extraction.todo(&ids()).unwrap().for_rank(worker) {
            let row = TensorView::new(Dtype::F32, [1, 3], vec![1; 12]).unwrap();
            writer.push(&[id], &row).unwrap();
        }
        writer.finish().unwrap();
    }
    place
}

/// Flips a bit of a shard's rows.
fn damage(place: &Place, shard: &str) {
    let path = place.at(format!("shards/{shard}"));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What is shown, with the place of the test, proofs and digests of data left out.
fn shown(place: &Place, run: &Run) -> String {
    let root = fs::canonicalize(place.at("")).unwrap();
    let text = run.shown().replace(&format!("{}/", root.to_str().unwrap()), "");
    anonymous(&text)
}

#[test]
fn the_status_says_what_each_rank_has() {
    let place = extracted(&[0, 2]);
    fs::remove_file(place.at("shards/shard_2/rank.json")).unwrap();
    insta::assert_snapshot!(shown(&place, &place.run(&["features", "status", "shards"])), @r#"
    exit 0
    --- stdout
     RANK  STATE      SHARDS        ROWS        SIZE  UPDATED
        0  finished        2           4     8.0 KiB  <1min
        1  absent          0           0         0 B  never
        2  absent          0           0         0 B  never
    unrecorded: shard_2/batch_0.safetensors (its rank was stopped when it had saved it; it counts if it verifies)
    unrecorded: shard_2/batch_1.safetensors (its rank was stopped when it had saved it; it counts if it verifies)

    3 ranks, 2 shards, 4 of 12 rows, 8.0 KiB
    --- stderr
    "#);
}

#[test]
fn a_stalled_rank_is_an_exit_code() {
    let place = extracted(&[0, 1, 2]);
    assert_eq!(place.run(&["features", "status", "shards", "--stalled-after", "1h"]).code, Some(0));
    let place = extracted(&[0]);
    std::thread::sleep(Duration::from_millis(2));
    let run = place.run(&["features", "status", "shards", "--stalled-after", "1ms"]);
    assert_eq!((run.code, run.stdout.matches("stalled").count()), (Some(1), 2), "{run:?}");
}

#[test]
fn the_ids_that_are_to_do_are_printed() {
    let place = extracted(&[0, 2]);
    damage(&place, "shard_2/batch_1.safetensors");
    insta::assert_snapshot!(shown(&place, &place.run(&["features", "todo", "shards", "--ids", "ids.txt"])), @r#"
    exit 0
    --- stdout
    seq-01
    seq-04
    seq-07
    seq-08
    seq-10
    seq-11
    --- stderr
    damaged: shard_2/batch_1.safetensors: checksum-mismatch: within these 24 bytes, at least one isn't what was saved, tensor data, offset 4096
    "#);
    let of_rank = ["features", "todo", "shards", "--ids", "ids.txt", "--rank", "1", "--world-size", "2"];
    assert_eq!(place.run(&of_rank).stdout, "seq-01\nseq-07\nseq-11\n");
    assert!(place.at("shards/shard_2/batch_1.safetensors").exists());
    assert_eq!(place.run(&of_rank[..7]).code, Some(2));
    assert_eq!(place.run(&["features", "todo", "shards", "--ids", "none.txt"]).code, Some(2));
}

#[test]
fn all_shards_become_one_file() {
    let place = extracted(&[0, 1, 2]);
    let run = place.run(&["features", "aggregate", "shards", "--ids", "ids.txt", "-o", "out.safetensors"]);
    insta::assert_snapshot!(shown(&place, &run), @r#"
    exit 0
    --- stdout
    aggregated  out.safetensors: 12 rows of 6 shards, 4.1 KiB, in 0 ms
                crc64-nvme:…
    --- stderr
    "#);
    assert_eq!(place.verify(&["out.safetensors"]).code, Some(0));
}

#[test]
fn what_is_missing_is_refused_or_told() {
    let place = extracted(&[0, 2]);
    damage(&place, "shard_0/batch_0.safetensors");
    let aggregate = ["features", "aggregate", "shards", "--ids", "ids.txt", "-o", "out.pt"];
    insta::assert_snapshot!(shown(&place, &place.run(&aggregate)), @r#"
    exit 1
    --- stdout
    --- stderr
    error: shards: incompatible: 6 ids have no row in any shard that verifies, the first is 'seq-00'; shard_0/batch_0.safetensors is damaged: within these 24 bytes, at least one isn't what was saved (level keys)
    hint: `ckpt features todo` lists all of them: extract those as well, or leave them out with --allow-missing
    "#);
    assert!(!place.at("out.pt").exists());
    let allowed = [&aggregate[..], &["--allow-missing"]].concat();
    insta::assert_snapshot!(shown(&place, &place.run(&allowed)), @r#"
    exit 0
    --- stdout
    aggregated  out.pt: 6 rows of 3 shards, 1.3 KiB, in 0 ms
                crc64-nvme:…
    missing     6: seq-00, seq-01, seq-03, seq-04, seq-07, seq-10
    --- stderr
    damaged: shard_0/batch_0.safetensors: checksum-mismatch: within these 24 bytes, at least one isn't what was saved, tensor data, offset 4096
    "#);
}

#[test]
fn where_there_is_none_the_exit_code_says_so() {
    let place = Place::with(&["empty/"]);
    place.write("ids.txt", b"a\n");
    for args in [
        &["status", "empty"][..],
        &["todo", "empty", "--ids", "ids.txt"],
        &["aggregate", "empty", "-o", "out.pt"],
        &["status", "nowhere"],
    ] {
        let run = place.run(&[&["features"], args].concat());
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(run.stderr.contains("hint: name the directory that the workers save"), "{run:?}");
    }
}

#[test]
fn the_documents_are_described() {
    let place = extracted(&[0, 1]);
    damage(&place, "shard_0/batch_0.safetensors");
    fs::write(place.at("shards/shard_1/rank.json"), "{").unwrap();
    let run = place.run(&["features", "status", "shards", "--json"]);
    is_described(&run.stdout, "## The document of `ckpt features status --json`");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["schema"], "ckpt.features/1");
    let states: Vec<_> = document["ranks"].as_array().unwrap().iter().map(|rank| &rank["state"]).collect();
    assert_eq!(states, ["finished", "damaged", "absent"]);
    let args = ["aggregate", "shards", "--ids", "ids.txt", "-o", "out.pt", "--allow-missing", "--json"];
    let run = place.run(&[&["features"], &args[..]].concat());
    is_described(&run.stdout, "## The record of `ckpt features aggregate --json`");
    let found: Aggregated = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((found.schema.as_str(), found.rows, found.missing), ("ckpt.aggregate/1", 6, 6));
}

#[test]
fn every_command_says_how_it_ends() {
    let place = Place::with(&[]);
    for command in ["status", "todo", "aggregate"] {
        let run = place.run(&["features", command, "--help"]);
        assert!(run.stdout.contains("Exit codes:") && run.stdout.contains("Examples:"), "{command}");
    }
    assert!(place.run(&["features", "--help"]).stdout.contains("ckpt features todo embeddings"));
}
