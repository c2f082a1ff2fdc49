//! State files: damaged, of another version, of another program, hostile.

use std::fs;

use ckpt::ErrorKind;
use ckpt::pipeline::{Notice, Pipeline, PipelineOptions, Ran};
use ckpt::record::{PIPELINE_SCHEMA, PipelineState, StageStatus};
use proptest::prelude::*;

use super::Place;

#[test]
fn a_missing_file_is_a_clean_start_and_nothing_is_made_before_a_stage_is_begun() {
    let place = Place::new();
    assert!(Pipeline::read(place.at("no/such/pipeline.json")).unwrap().is_none());
    let pipeline = place.open();
    assert_eq!((pipeline.next(), pipeline.notices()), (Some("extract"), &[][..]));
    drop(pipeline);
    assert_eq!(place.beside(), ["pipeline.json.lock"]);
    // A directory that isn't there is made.
    let nested = Pipeline::open(place.at("a/b/pipeline.json"), ["x"], PipelineOptions::default()).unwrap();
    assert!(nested.directory().ends_with("a/b"));
}

#[test]
fn a_corrupt_file_is_kept_aside_and_the_pipeline_begins_anew() {
    let place = Place::new();
    place.go();
    let whole = fs::read(place.state()).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    for (number, bytes) in [
        Vec::new(),
        b"{".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        flipped(whole.len() / 2),
        vec![0; 4096],
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(place.state(), &bytes).unwrap();
        assert_eq!(Pipeline::read(place.state()).unwrap_err().kind(), ErrorKind::Corrupted);
        let pipeline = place.open();
        let [Notice::SetAside { path, why }] = pipeline.notices() else { panic!("{:?}", pipeline.notices()) };
        assert_eq!(fs::read(path).unwrap(), bytes);
        assert!(
            path.file_name().unwrap().to_str().unwrap().starts_with("pipeline.json.corrupt-"),
            "{path:?}"
        );
        assert!(why.contains("damaged"), "{why}");
        assert_eq!(pipeline.next(), Some("extract"));
        let aside = place.beside().iter().filter(|name| name.contains(".corrupt-")).count();
        assert_eq!(aside, number + 1, "none took another's place");
    }
    // What the old one had finished isn't taken for what the new one has begun.
    let mut pipeline = place.open();
    drop(pipeline.begin("extract").unwrap());
    drop(pipeline);
    let pipeline = place.open();
    assert_eq!((pipeline.next(), pipeline.notices()), (Some("extract"), &[][..]));
    drop(pipeline);
    assert_eq!(place.go().len(), 3);
}

#[test]
fn what_is_no_file_or_cannot_be_read_is_no_clean_start() {
    let place = Place::new();
    fs::create_dir(place.state()).unwrap();
    let error = Pipeline::open(place.state(), ["x"], PipelineOptions::default()).unwrap_err();
    assert!(error.to_string().contains("this is none"), "{error}");
    assert!(place.state().is_dir());
}

#[test]
fn a_later_version_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let text = br#"{"schema": "ckpt.pipeline/7", "stages": {"in": "another form"}}"#;
    fs::write(place.state(), text).unwrap();
    for error in [
        Pipeline::read(place.state()).unwrap_err(),
        place.open_with(PipelineOptions::default()).unwrap_err(),
        place.open_with(PipelineOptions::default().with_force_restart()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Incompatible);
        assert!(error.to_string().contains("upgrade ckpt"), "{error}");
    }
    assert_eq!(fs::read(place.state()).unwrap(), text);
    assert_eq!(place.beside(), ["pipeline.json", "pipeline.json.lock"]);
}

#[test]
fn an_older_state_is_taken_over_and_written_anew_after_the_next_stage() {
    let place = Place::new();
    let text = br#"{"source_file": "genes.fa", "stages_complete": ["extract"], "model": "m7", "rows": 5000}"#;
    fs::write(place.state(), text).unwrap();
    let read = Pipeline::read(place.state()).unwrap().unwrap();
    assert_eq!((read.stages_complete.join(" ").as_str(), &read.fields["rows"]), ("extract", &5000.into()));

    let mut pipeline = place.open();
    let migrated = Notice::Migrated { stages: vec!["extract".to_owned()] };
    assert_eq!((pipeline.next(), pipeline.notices()), (Some("merge"), &[migrated][..]));
    assert_eq!(place.run(&mut pipeline, "extract"), Ran::Skipped);
    let run = pipeline.begin("merge").unwrap().unwrap();
    assert_eq!(fs::read(place.state()).unwrap(), text, "until the stage has ended");
    pipeline.complete(run).unwrap();
    let state = PipelineState::parse(&fs::read(place.state()).unwrap()).unwrap();
    assert_eq!(
        (state.schema.as_str(), state.stages_complete.join(" ").as_str()),
        (PIPELINE_SCHEMA, "extract merge")
    );
    assert_eq!((&state.fields["model"], &state.fields["source_file"]), (&"m7".into(), &"genes.fa".into()));
    drop(pipeline);
    assert_eq!(place.open().notices(), []);
}

#[test]
fn an_older_state_of_another_source_is_stale() {
    let place = Place::new();
    fs::write(place.at("other.fa"), "ACGT").unwrap();
    fs::write(place.at("genes.fa"), "ACGT").unwrap();
    fs::write(place.state(), r#"{"source_file": "/data/genes.fa", "stages_complete": ["extract"]}"#).unwrap();
    let open = |source: &str| place.open_with(PipelineOptions::default().with_source(source));
    assert_eq!(open("genes.fa").unwrap().next(), Some("merge"));
    assert_eq!(open("other.fa").unwrap_err().kind(), ErrorKind::Incompatible);
}

#[test]
fn every_flipped_bit_is_found_and_none_does_harm() {
    let place = Place::new();
    let mut pipeline = place.open();
    place.run(&mut pipeline, "extract");
    drop(pipeline);
    let whole = fs::read(place.state()).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert!(PipelineState::parse(&bytes).is_err(), "byte {at}, bit {bit}");
        }
    }
}

/// A state whose digest is right, and whose words are somebody's who means ill.
#[test]
fn hostile_states_do_no_harm() {
    let far = "9999-12-30T22:00:00Z";
    let output = |path: &str, bytes: &str, digest: &str| {
        format!(r#"{{"path": "{path}", "bytes": {bytes}, "modified": "{far}", "digest": "{digest}"}}"#)
    };
    let stage =
        |name: &str, status: &str, rest: &str| format!(r#"{{"name": "{name}", "status": "{status}"{rest}}}"#);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let list = |stages: &[String]| format!(r#""stages": [{}]"#, stages.join(","));
    for fields in [
        r#""stages": [], "status": "completed""#.to_owned(),
        list(&[stage("extract", "completed", r#", "seconds": 1e308, "attempts": 4294967295"#)]),
        list(&[stage(
            "extract",
            "in_progress",
            r#", "attempts": 4294967295, "checkpoint": "step-0000000001""#,
        )]),
        list(&[stage("extract", "completed", ""), stage("extract", "failed", "")]),
        list(&[stage("extract", "awaiting_review", ""), stage("merge", "awaiting_review", "")]),
        list(&[stage("", "completed", ""), stage("\\u0000\\u001b[2J", "completed", "")]),
        list(&[stage("extract", "completed", &format!(r#", "values": {{"x": {deep}}}"#))]),
        list(&[stage(
            "extract",
            "completed",
            &format!(
                r#", "outputs": [{}, {}, {}]"#,
                output("/dev/zero", "18446744073709551615", "crc64-nvme:"),
                output("../../../../etc", "0", ""),
                output("a\\u0000b", "1", "\\u001b")
            ),
        )]),
    ] {
        let place = Place::new();
        fs::write(place.state(), signed(&fields)).unwrap();
        let read = Pipeline::read(place.state());
        assert!(read.is_ok_and(|state| state.is_some()), "{fields}");
        let mut pipeline = place.open();
        assert!(pipeline.next().is_none_or(|next| super::STAGES.contains(&next)));
        drop(pipeline.plan_cleanup());
        for stage in super::STAGES {
            drop(pipeline.why(stage));
            drop(pipeline.run(stage, |run| place.work(run)));
            drop(pipeline.approve(stage, ckpt::pipeline::Approval::default()));
        }
        pipeline.reset("extract").unwrap();
        assert!(pipeline.state().stages.iter().all(|stage| stage.status == StageStatus::NotStarted));
        drop(pipeline);
        let mut known = Pipeline::open_known(place.state(), PipelineOptions::default()).unwrap();
        let plan = known.plan_cleanup();
        assert!(known.clean_up(&plan).unwrap().is_empty());
    }
}

/// Makes a state file of these fields, with the digest that it must have.
fn signed(fields: &str) -> String {
    let zeros = "0000000000000000";
    let status = if fields.contains(r#""status": "completed""#) && fields.starts_with(r#""stages": []"#) {
        ""
    } else {
        r#""status": "in_progress","#
    };
    let text = format!(
        r#"{{"schema": "{PIPELINE_SCHEMA}", "digest": "{zeros}", "name": "pipeline", {status}
        "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z", {fields}}}"#
    );
    let digest = ckpt::digest::Algorithm::Crc64Nvme.digest(text.as_bytes()).to_string();
    text.replacen(zeros, &digest, 1)
}

proptest! {
    #[test]
    fn any_bytes_are_a_state_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(PipelineState::parse(&bytes));
    }

    #[test]
    fn any_json_is_a_state_or_an_error(text in r#"\{("(schema|stages|stages_complete|digest)": ("ckpt.pipeline/[0-9]{0,25}"|\[("a"|1|null|\{\})?\]|-?[0-9]{1,20}|null),? ?){0,5}\}"#) {
        drop(PipelineState::parse(text.as_bytes()));
    }
}
