//! States that were made of something else than what is there now.

use std::fs;

use ckpt::ErrorKind;
use ckpt::pipeline::{Notice, OnStale, Pipeline, PipelineOptions};
use serde_json::json;

use super::{Place, STAGES};

fn options(config: &serde_json::Value) -> PipelineOptions {
    PipelineOptions::default().with_source("genes.fa").with_config(config).unwrap()
}

/// A pipeline whose first two stages are done, with this source and this configuration.
fn half(config: &serde_json::Value) -> Place {
    let place = Place::new();
    fs::write(place.at("genes.fa"), "ACGT").unwrap();
    let mut pipeline = place.open_with(options(config)).unwrap();
    assert_eq!(pipeline.notices(), []);
    place.run(&mut pipeline, "extract");
    place.run(&mut pipeline, "merge");
    place
}

#[test]
fn what_is_as_it_was_goes_on() {
    let place = half(&json!({"width": 768, "packing": true}));
    // The keys in another order; the source with the same bytes, written anew; or neither of them named.
    fs::write(place.at("genes.fa"), "ACGT").unwrap();
    let same = serde_json::from_str(r#"{"packing": true, "width": 768}"#).unwrap();
    for options in [options(&same), PipelineOptions::default()] {
        let pipeline = place.open_with(options).unwrap();
        assert_eq!((pipeline.next(), pipeline.notices()), (Some("predict"), &[][..]));
        assert_eq!(pipeline.state().source.as_ref().unwrap().bytes, 4);
    }
}

#[test]
fn a_stale_state_is_refused_unless_the_caller_says_otherwise() {
    let (old, new) = (json!({"width": 768}), json!({"width": 2560}));
    let place = half(&old);
    let before = fs::read(place.state()).unwrap();
    let error = place.open_with(options(&new)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    for word in ["configuration", "--force-restart", "--force-resume"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    fs::write(place.at("genes.fa"), "ACGA").unwrap();
    let error = place.open_with(options(&old)).unwrap_err().to_string();
    assert!(error.contains("the source genes.fa isn't what the pipeline was begun with"), "{error}");
    assert_eq!(fs::read(place.state()).unwrap(), before, "nothing was touched");

    let pipeline = place.open_with(options(&new).with_force_resume()).unwrap();
    assert_eq!(pipeline.next(), Some("predict"));
    assert!(matches!(pipeline.notices(), [Notice::Stale { what, restarted: false }] if what.len() == 2));
    drop(pipeline);
    assert_eq!(fs::read(place.state()).unwrap(), before, "nothing was begun");

    let mut pipeline = place.open_with(options(&new).on_stale(OnStale::Restart)).unwrap();
    assert_eq!(pipeline.next(), Some("extract"));
    assert!(matches!(pipeline.notices(), [Notice::Stale { restarted: true, .. }]));
    place.run(&mut pipeline, "extract");
    drop(pipeline);
    let pipeline = place.open_with(options(&new)).unwrap();
    assert_eq!((pipeline.next(), pipeline.notices()), (Some("merge"), &[][..]));
}

#[test]
fn what_goes_on_by_force_is_made_of_the_new_from_then_on() {
    let (old, new) = (json!(1), json!(2));
    let place = half(&old);
    let mut pipeline = place.open_with(options(&new).with_force_resume()).unwrap();
    place.run(&mut pipeline, "predict");
    drop(pipeline);
    let pipeline = place.open_with(options(&new)).unwrap();
    assert_eq!((pipeline.next(), pipeline.notices()), (None, &[][..]));
    let configs: Vec<_> = pipeline.state().stages.iter().map(|stage| stage.config.clone()).collect();
    assert!(configs[0] == configs[1] && configs[1] != configs[2], "{configs:?}");
}

#[test]
fn a_restart_is_made_also_where_nothing_is_stale() {
    let place = half(&json!(1));
    let pipeline = place.open_with(options(&json!(1)).with_force_restart()).unwrap();
    assert_eq!((pipeline.next(), pipeline.notices()), (Some("extract"), &[Notice::Restarted][..]));
    drop(pipeline);
    // Nothing was begun: it is as it was.
    assert_eq!(place.open().next(), Some("predict"));
}

#[test]
fn a_source_must_be_there() {
    let place = Place::new();
    let error = place.open_with(PipelineOptions::default().with_source("no.fa")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Nothing);
}

#[test]
fn another_pipelines_state_is_refused() {
    let place = half(&json!(1));
    assert_eq!(place.open().state().name, "pipeline");
    let error = place.open_with(PipelineOptions::default().with_name("other")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    let named =
        Pipeline::open(place.at("p.json"), STAGES, PipelineOptions::default().with_name("other")).unwrap();
    assert_eq!(named.state().name, "other");
}
