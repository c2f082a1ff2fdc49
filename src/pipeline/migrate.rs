//! State files without a version: what existing Python pipelines keep in `pipeline_checkpoint.json`.
//!
//! ```json
//! {"source_file": "genomes.fa", "stages_complete": ["extract", "merge"], "rows": 5000}
//! ```
//!
//! Which stages are finished is all that they say. Their other fields are kept as they are.

use serde_json::{Map, Value};

use crate::record::{PipelineState, StageRecord, StageStatus};

/// The field that names the finished stages.
const STAGES: &str = "stages_complete";

/// The field that names what the pipeline was begun with.
pub(super) const SOURCE: &str = "source_file";

/// Makes a state of an older one's text; `None` where it isn't one.
pub(super) fn migrated(text: &[u8], name: &str) -> Option<PipelineState> {
    let mut fields: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let stages: Vec<String> = serde_json::from_value(fields.remove(STAGES)?).ok()?;
    let mut state = PipelineState::new(name);
    for stage in stages {
        if stage.is_empty() || state.stage(&stage).is_some() {
            continue;
        }
        let mut record = StageRecord::new(stage);
        record.status = StageStatus::Completed;
        state.stages.push(record);
    }
    state.fields = fields;
    state.sum_up();
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_complete_and_all_else_is_kept() {
        let text = br#"{"source_file": "a.fa", "stages_complete": ["x", "y", "x", ""], "rows": {"n": 7}}"#;
        let state = migrated(text, "embed").unwrap();
        assert_eq!((state.name.as_str(), state.stages_complete.join(" ").as_str()), ("embed", "x y"));
        assert_eq!((&state.fields["source_file"], &state.fields["rows"]["n"]), (&"a.fa".into(), &7.into()));
        assert!(state.stages.iter().all(|stage| stage.outputs.is_empty() && stage.is_complete()));
    }

    #[test]
    fn other_documents_are_none() {
        for text in ["", "{}", "[]", r#"{"stages_complete": [1]}"#, r#"{"stages_complete": null}"#] {
            assert!(migrated(text.as_bytes(), "x").is_none(), "{text}");
        }
    }
}
