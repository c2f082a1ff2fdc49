//! The JSON, read back by a reader that accepts no field it doesn't know and misses none.

use serde::Deserialize;

/// `ckpt verify --json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) schema: String,
    pub(super) reports: Vec<Report>,
    pub(super) problems: Vec<Problem>,
    pub(super) summary: Summary,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Problem {
    pub(super) path: String,
    pub(super) message: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Summary {
    pub(super) checkpoints: u64,
    pub(super) valid: u64,
    pub(super) incompatible: u64,
    pub(super) corrupted: u64,
    pub(super) unreadable: u64,
    pub(super) bytes: u64,
    pub(super) elapsed_ms: u64,
}

/// A report, as the documentation has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    pub(super) schema: String,
    pub(super) path: String,
    #[serde(rename = "format")]
    pub(super) _format: ckpt::record::FormatKind,
    pub(super) verdict: ckpt::Verdict,
    pub(super) level: Option<ckpt::Level>,
    pub(super) passed: Option<ckpt::Level>,
    pub(super) bytes: u64,
    pub(super) tensors: Option<u64>,
    pub(super) integrity: ckpt::Integrity,
    pub(super) findings: Vec<Finding>,
    #[serde(rename = "elapsed_ms")]
    pub(super) _elapsed_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finding {
    pub(super) code: ckpt::Code,
    pub(super) level: ckpt::Level,
    pub(super) verdict: ckpt::Verdict,
    pub(super) message: String,
    #[serde(rename = "at")]
    pub(super) _at: At,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are there to be known")]
pub(super) struct At {
    file: Option<String>,
    record: Option<String>,
    tensor: Option<String>,
    key: Option<String>,
    offset: Option<u64>,
}

pub(super) fn document(text: &str) -> Document {
    serde_json::from_str(text).unwrap()
}

pub(super) fn lines(text: &str) -> Vec<Report> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Holds a document against the page for its readers: under the title, every field is named.
pub(super) fn is_described(text: &str, title: &str) {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(title).unwrap_or_else(|| panic!("docs/report.md has no {title}"));
    let section = section.split("\n## ").next().unwrap();
    let mut values = vec![serde_json::from_str::<serde_json::Value>(text).unwrap()];
    while let Some(value) = values.pop() {
        match value {
            serde_json::Value::Array(list) => values.extend(list),
            // A report has a section of its own.
            serde_json::Value::Object(map)
                if map.get("schema").is_some_and(|schema| schema == "ckpt.report/1") => {}
            serde_json::Value::Object(map) => {
                for (field, value) in map {
                    assert!(section.contains(&format!("`{field}`")), "{title} doesn't describe {field}");
                    values.push(value);
                }
            }
            _ => {}
        }
    }
}
