//! The page for readers says what the state file holds.

use std::path::Path;

use ckpt::Error;
use ckpt::pipeline::{Approval, Pipeline, PipelineOptions, Stage, StageRun};
use ckpt::record::{CLEANUP_SCHEMA, CleanupReason, Lifetime, PIPELINE_SCHEMA, PipelineStatus, StageStatus};
use serde_json::Value;

use super::Place;

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pipeline.md")).unwrap()
}

/// Asserts that the page names every field of a value.
fn assert_described(page: &str, value: Value) {
    let mut values = vec![value];
    while let Some(value) = values.pop() {
        match value {
            Value::Array(list) => values.extend(list),
            Value::Object(map) => {
                for (field, value) in map {
                    // What the caller names is the caller's own.
                    if !matches!(field.as_str(), "metadata" | "values" | "cost" | "fields") {
                        values.push(value);
                    }
                    assert!(
                        page.contains(&format!("`{field}`")),
                        "docs/pipeline.md doesn't describe {field}"
                    );
                }
            }
            _ => {}
        }
    }
}

#[test]
fn the_page_names_every_field_and_every_word() {
    let place = Place::new();
    std::fs::write(place.at("source"), "s").unwrap();
    std::fs::create_dir(place.at("shards")).unwrap();
    let options =
        PipelineOptions::default().with_source("source").with_config(&1).unwrap().with_metadata("who", "x");
    let described = Stage::new("all").with_review().with_command(["all"]);
    let mut pipeline = Pipeline::open(place.state(), [described], options).unwrap();
    let done = pipeline.run("all", |run: &mut StageRun| -> Result<(), Error> {
        run.input("source")?;
        std::fs::write(run.output_with("out", Lifetime::UntilCompleted)?, "x").unwrap();
        run.output("shards")?;
        run.cost("x", 1.0);
        run.value("x", &1)
    });
    done.unwrap();
    std::fs::write(place.at("out"), "y").unwrap();
    pipeline.approve("all", Approval::default().by("x").with_note("y")).unwrap();
    let plan = pipeline.plan_cleanup();
    assert_eq!(pipeline.clean_up(&plan).unwrap().len(), 1);

    let page = page();
    let state = std::fs::read_to_string(place.state()).unwrap();
    assert_described(&page, serde_json::from_str(&state).unwrap());
    assert_described(&page, serde_json::to_value(&plan).unwrap());
    assert!(page.contains("`fields`"));
    let reasons = [
        CleanupReason::Kept,
        CleanupReason::Needed { by: String::new() },
        CleanupReason::NotCompleted,
        CleanupReason::NotRead,
        CleanupReason::Changed { how: String::new() },
        CleanupReason::Completed,
        CleanupReason::Consumed,
    ];
    let reasons: Vec<Value> = reasons.iter().map(|reason| serde_json::to_value(reason).unwrap()).collect();
    let words = PipelineStatus::ALL.map(PipelineStatus::as_str).into_iter();
    let words =
        words.chain(StageStatus::ALL.map(StageStatus::as_str)).chain(Lifetime::ALL.map(Lifetime::as_str));
    let words = words.chain(reasons.iter().map(|reason| reason["reason"].as_str().unwrap()));
    for word in words.chain([PIPELINE_SCHEMA, CLEANUP_SCHEMA]) {
        assert!(page.contains(&format!("`{word}`")) || page.contains(&format!("\"{word}\"")), "{word}");
    }
}

/// Bindings hold both, and use them from whatever thread.
#[test]
fn a_pipeline_and_its_attempts_belong_to_no_thread() {
    fn is_free<T: Send + 'static>() {}
    is_free::<Pipeline>();
    is_free::<StageRun>();
}
