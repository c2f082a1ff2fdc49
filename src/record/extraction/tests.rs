use serde_json::json;

use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn extraction() -> ExtractionRecord {
    let model = ModelConfig::of(&json!({"model": "esm2", "dtype": "float16", "scale": 0.1 + 0.2})).unwrap();
    ExtractionRecord::new(InputFingerprint::of_ids(["a", "b"]), model, 4, time(1_700_000_000))
}

fn rank(rank: u32, world_size: u32, updated: i64) -> RankRecord {
    let mut record = RankRecord::new("x", rank, world_size, time(updated));
    let mut shard = ShardRecord::new("batch_0.safetensors", 0, time(updated));
    (shard.rows, shard.bytes, shard.proof) = (10, 400, "crc64-nvme:00".into());
    record.add(shard);
    record
}

#[test]
fn records_read_back_as_they_were_written() {
    let record = extraction();
    let back = ExtractionRecord::parse(record.encode().as_bytes()).unwrap();
    assert_eq!((back.encode(), &back.id, &back.model), (record.encode(), &record.id, &record.model));
    let record = rank(3, 4, 1_700_000_000);
    let back = RankRecord::parse(record.encode().as_bytes()).unwrap();
    assert_eq!((back.encode(), back.rows, back.bytes()), (record.encode(), 10, 400));
}

#[test]
fn every_changed_byte_is_found() {
    for text in [extraction().encode(), rank(0, 1, 1_700_000_000).encode()] {
        let text = text.into_bytes();
        let is_good = |text: &[u8]| ExtractionRecord::parse(text).is_ok() || RankRecord::parse(text).is_ok();
        assert!(is_good(&text));
        for at in 0..text.len() {
            for bit in [1_u8, 0x20, 0x80] {
                let mut changed = text.clone();
                changed[at] ^= bit;
                assert!(!is_good(&changed), "byte {at}, bit {bit:#x}");
            }
            assert!(!is_good(&text[..at]), "cut at {at}");
        }
    }
}

#[test]
fn a_later_version_is_no_damage() {
    let newer = |schema: &str| {
        RankRecord::parse(format!("{{\"schema\":\"{schema}\",\"else\":[]}}").as_bytes()).unwrap_err()
    };
    for schema in ["ckpt.extraction-rank/2", "ckpt.extraction-rank/10"] {
        assert_eq!(newer(schema), ExtractionRecordError::Newer(schema.to_owned()));
    }
    for schema in ["ckpt.extraction/2", "ckpt.extraction-rank/", "ckpt.extraction-rank/x", ""] {
        assert!(matches!(newer(schema), ExtractionRecordError::Damaged(_)), "{schema}");
    }
}

/// Gives a changed text the digest that it should have.
fn sealed(text: &str) -> Vec<u8> {
    let from = text.find("\"digest\": \"").unwrap() + 11;
    let blank = [&text[..from], BLANK, &text[from + 16..]].concat();
    let digest = Algorithm::Crc64Nvme.digest(blank.as_bytes()).to_string();
    blank.replacen(BLANK, &digest, 1).into_bytes()
}

#[test]
fn what_means_harm_is_refused() {
    let text = extraction().encode();
    assert!(ExtractionRecord::parse(&sealed(&text)).is_ok());
    for world in ["0", "65537", "4294967295"] {
        let text = text.replace("\"world_size\": 4", &format!("\"world_size\": {world}"));
        assert!(ExtractionRecord::parse(&sealed(&text)).is_err(), "{world}");
    }
    let text = rank(0, 1, 1_700_000_000).encode();
    assert!(RankRecord::parse(&sealed(&text)).is_ok());
    for (from, to) in [
        ("batch_0.safetensors", "../../etc/passwd"),
        ("\"rank\": 0", "\"rank\": 1"),
        ("\"rows\": 10", "\"rows\": -1"),
        ("\"batch\": 0", "\"batch\": 18446744073709551616"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(RankRecord::parse(&sealed(&changed)).is_err(), "{to}");
    }
    for text in ["", "[]", "null", "{", "[[[[", "{\"schema\":{}}"] {
        assert!(ExtractionRecord::parse(text.as_bytes()).is_err(), "{text}");
    }
    let deep = format!("{}{}", "{\"schema\":".repeat(100_000), "}".repeat(100_000));
    assert!(ExtractionRecord::parse(deep.as_bytes()).is_err());
}

#[test]
fn the_name_goes_by_input_and_model() {
    let one = extraction();
    let again = ExtractionRecord::new(one.input.clone(), one.model.clone(), 9, time(0));
    assert_eq!(one.id, again.id);
    let other = ExtractionRecord::new(InputFingerprint::of_ids(["ab"]), one.model.clone(), 4, one.created);
    assert_ne!(one.id, other.id);
    assert_ne!(InputFingerprint::of_ids(["a", "b"]).digest, InputFingerprint::of_ids(["ab", ""]).digest);
    assert_eq!(InputFingerprint::of_bytes(7, "blake3:ab").to_string(), "7 bytes, blake3:ab");
}

#[test]
fn the_newest_run_says_how_many_ranks_there_are() {
    let began = 1_700_000_000;
    // Four ranks worked first, then two, of which one never began.
    let ranks = vec![rank(3, 4, began + 10), rank(0, 2, began + 500), rank(2, 4, began + 20)];
    let manifest = ExtractionManifest::new(extraction(), ranks, Vec::new(), Vec::new());
    assert_eq!((manifest.world_size, manifest.absent.as_slice()), (2, &[1][..]));
    assert_eq!((manifest.shards(), manifest.rows(), manifest.bytes()), (3, 30, 1200));
    assert!(!manifest.is_finished());
    let stalled = |after: i64, age: u64| -> Vec<u32> {
        let stalled = manifest.stalled(time(began + after), Duration::from_secs(age));
        stalled.iter().map(|stalled| stalled.rank).collect()
    };
    assert_eq!(stalled(1000, 2000), [0; 0]);
    assert_eq!(stalled(1000, 600), [1], "the one that never began, since the beginning");
    assert_eq!(stalled(1200, 600), [0, 1]);
    assert_eq!(stalled(-1000, 0), [0; 0], "a clock that is behind");
}

#[test]
fn finished_ranks_don_t_stall() {
    let mut done = rank(0, 2, 1_700_000_000);
    done.finished = true;
    let both = vec![done.clone(), RankRecord { rank: 1, ..done.clone() }];
    let manifest = ExtractionManifest::new(extraction(), both, Vec::new(), Vec::new());
    assert!(manifest.is_finished() && manifest.stalled(time(1_800_000_000), Duration::ZERO).is_empty());
    let damaged = ExtractionManifest::new(extraction(), vec![done], Vec::new(), vec![1]);
    assert!(!damaged.is_finished() && damaged.absent.is_empty());
}

mod hostile {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_is_more_than_an_error(bytes in vec(any::<u8>(), 0..200), at in 0_usize..600, cut in 0_usize..600) {
            // Alone, and in the middle of a record.
            let mut text = rank(0, 1, 1_700_000_000).encode().into_bytes();
            let (at, end) = (at.min(text.len()), at.saturating_add(cut).min(text.len()));
            text.splice(at..end.max(at), bytes.iter().copied());
            for text in [bytes, text] {
                drop(RankRecord::parse(&text));
                drop(ExtractionRecord::parse(&text));
                drop(RankRecord::parse(&String::from_utf8_lossy(&text).into_owned().into_bytes()));
            }
        }
    }
}
