use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Fingerprint, PipelineStatus, StageRecord, StageStatus};
use crate::record::marker::parse_map;
use crate::record::self_proving::{BLANK, encode, is_whole};

/// The name and version of a pipeline's state file.
pub const PIPELINE_SCHEMA: &str = "ckpt.pipeline/1";

/// What the schemas of all versions begin with; a number follows.
const SCHEMA_STEM: &str = "ckpt.pipeline/";

/// The version that is written now: that of [`PIPELINE_SCHEMA`].
const VERSION: u64 = 1;

/// The state of a pipeline: what its state file holds. People and scripts read it; the checkpoints of the finished
/// stages are what proves it.
///
/// It proves itself as a [`Manifest`](crate::record::Manifest) does: the field `digest` is the CRC-64/NVME of its text,
/// taken with the digest's own digits as zeros. `docs/pipeline.md` has it field by field. Fields that aren't known are
/// ignored.
///
/// ```
/// use ckpt::record::{PipelineState, StageRecord};
/// let mut state = PipelineState::new("embed");
/// state.stages.push(StageRecord::new("extract"));
/// let text = state.encode();
/// assert_eq!(PipelineState::parse(text.as_bytes())?.stages, state.stages);
/// assert!(PipelineState::parse(text.replace("extract", "extracT").as_bytes()).is_err());
/// # Ok::<(), ckpt::record::PipelineStateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PipelineState {
    /// Always [`PIPELINE_SCHEMA`].
    pub schema: String,
    /// The digest of the rest.
    digest: String,
    /// What the pipeline is called.
    pub name: String,
    /// How far it is.
    pub status: PipelineStatus,
    /// What it was begun with, where it was told.
    #[serde(default)]
    pub source: Option<Fingerprint>,
    /// The digest of its configuration, where it was told one: of its canonical JSON, `blake3:` and the digits.
    #[serde(default)]
    pub config: Option<String>,
    /// The stages that are done, in the order of the pipeline.
    #[serde(default)]
    pub stages_complete: Vec<String>,
    /// All stages, in their order.
    #[serde(default)]
    pub stages: Vec<StageRecord>,
    /// When the pipeline was begun.
    pub created: Timestamp,
    /// When this was written.
    pub updated: Timestamp,
    /// The caller's own words.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The fields of a state file without a version, as existing pipelines keep it, that this one was made from.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// Why a text is no state of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineStateError {
    /// The text is none, or its digest is another than that of its bytes.
    #[error("the state is damaged: {0}")]
    Damaged(&'static str),
    /// A later version wrote it.
    #[error("the state has the version {0}, and this version of ckpt knows 1: upgrade ckpt to go on with it")]
    Newer(u64),
    /// It has no version: an existing Python pipeline's, which [`crate::pipeline`] takes over.
    #[error("the state has no version: it is one that another program keeps")]
    Unversioned,
}

/// What of a state is read before anything else.
#[derive(Deserialize)]
struct Version {
    schema: Option<String>,
    stages_complete: Option<Value>,
}

impl PipelineState {
    /// A state file is far smaller than this, in bytes.
    pub const MAX_BYTES: u64 = 64 << 20;

    /// Makes the state of a pipeline without stages, of this moment.
    pub fn new(name: impl Into<String>) -> Self {
        let now = Timestamp::now();
        Self {
            schema: PIPELINE_SCHEMA.to_owned(),
            digest: BLANK.to_owned(),
            name: name.into(),
            status: PipelineStatus::NotStarted,
            source: None,
            config: None,
            stages_complete: Vec::new(),
            stages: Vec::new(),
            created: now,
            updated: now,
            metadata: BTreeMap::new(),
            fields: Map::new(),
        }
    }

    /// Returns what is known of a stage.
    pub fn stage(&self, name: &str) -> Option<&StageRecord> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// Returns what is known of a stage, to be changed.
    pub fn stage_mut(&mut self, name: &str) -> Option<&mut StageRecord> {
        self.stages.iter_mut().find(|stage| stage.name == name)
    }

    /// Returns the stage that waits for its review, if one does.
    pub fn awaiting_review(&self) -> Option<&StageRecord> {
        self.stages.iter().find(|stage| stage.status == StageStatus::AwaitingReview)
    }

    /// Makes `status` and `stages_complete` what the stages say.
    pub fn sum_up(&mut self) {
        self.status = PipelineStatus::of_stages(self.stages.iter().map(|stage| stage.status));
        let complete = self.stages.iter().filter(|stage| stage.is_complete());
        self.stages_complete = complete.map(|stage| stage.name.clone()).collect();
    }

    /// Returns the text: JSON that ends in a newline.
    pub fn encode(&self) -> String {
        let blank = Self { digest: BLANK.to_owned(), ..self.clone() };
        encode(&blank)
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// See [`PipelineStateError`]. One of a later version is told from a damaged one, and one without a version from both.
    pub fn parse(text: &[u8]) -> Result<Self, PipelineStateError> {
        let damaged = PipelineStateError::Damaged;
        let version: Version = parse_map(text).ok_or(damaged("it is no JSON object of a pipeline"))?;
        match version.schema.as_deref().map(|schema| schema.strip_prefix(SCHEMA_STEM)) {
            None if version.stages_complete.is_some_and(|stages| stages.is_array()) => {
                return Err(PipelineStateError::Unversioned);
            }
            None => return Err(damaged("it has neither a schema nor stages")),
            Some(None) => return Err(damaged("its schema is that of another document")),
            Some(Some(number)) => match number.parse::<u64>() {
                Ok(VERSION) => {}
                Ok(later) if later > VERSION => return Err(PipelineStateError::Newer(later)),
                _ => return Err(damaged("its schema has no version that there ever was")),
            },
        }
        let state: Self = parse_map(text).ok_or(damaged("a field is missing, or of another type"))?;
        if !is_whole(text, &state.digest) {
            return Err(damaged("its text isn't what its digest was taken of"));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Edit, FileRecord, Lifetime, Review};
    use super::*;
    use crate::digest::Algorithm;
    use crate::record::CheckpointId;

    fn state() -> PipelineState {
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        let mut state = PipelineState::new("embed");
        (state.created, state.updated) = (time, time);
        state.source = Some(Fingerprint::new("in.fa", 7, time, "crc64-nvme:ae8b14860a799888"));
        let mut done = StageRecord::new("extract");
        done.status = StageStatus::Completed;
        done.seconds = 0.1 + 0.2;
        done.started = Some(time);
        done.checkpoint = Some(CheckpointId { generation: 1, step: 1 });
        done.values.insert("rows".to_owned(), Value::from(u64::MAX));
        let output = FileRecord::new("out.pt", 7, time, "crc64-nvme:ae8b14860a799888");
        done.outputs.push(output.with_lifetime(Lifetime::UntilConsumed));
        let mut review = Review::new(time);
        review.edits.push(Edit::new("out.pt", "blake3:1", "blake3:2"));
        done.review = Some(review);
        state.stages.push(done);
        state.stages.push(StageRecord::new("merge"));
        state.metadata.insert("who".to_owned(), "\"me\"\u{1b}".to_owned());
        state.sum_up();
        state
    }

    #[test]
    fn it_reads_back_as_it_was_written() {
        let (state, text) = (state(), state().encode());
        let back = PipelineState::parse(text.as_bytes()).unwrap();
        assert_eq!(PipelineState { digest: BLANK.to_owned(), ..back.clone() }, state);
        assert_eq!(back.encode(), text);
        assert_eq!((back.status, back.stages_complete), (PipelineStatus::InProgress, vec!["extract".into()]));
    }

    #[test]
    fn every_changed_byte_is_found() {
        let text = state().encode().into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                assert!(PipelineState::parse(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
        for len in 0..text.len() {
            assert!(PipelineState::parse(&text[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn what_is_ignored_is_part_of_the_digest() {
        let text = state().encode().replacen("{\n", "{\n  \"later\": [1, 2],\n", 1);
        assert!(PipelineState::parse(text.as_bytes()).is_err());
        let own: Value = serde_json::from_str(&text).unwrap();
        let blank = text.replacen(own["digest"].as_str().unwrap(), BLANK, 1);
        let digest = Algorithm::Crc64Nvme.digest(blank.as_bytes()).to_string();
        let text = blank.replacen(BLANK, &digest, 1);
        assert_eq!(PipelineState::parse(text.as_bytes()).unwrap().stages, state().stages);
    }

    #[test]
    fn another_version_is_no_damage() {
        let parse = |text: &str| PipelineState::parse(text.as_bytes()).unwrap_err();
        let newer = parse(r#"{"schema": "ckpt.pipeline/2", "stages": {"another": "form"}}"#);
        assert_eq!(newer, PipelineStateError::Newer(2));
        assert!(newer.to_string().contains("upgrade ckpt"));
        let old = parse(r#"{"source_file": "a.fa", "stages_complete": ["a"], "rows": 7}"#);
        assert_eq!(old, PipelineStateError::Unversioned);
        for text in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"schema": "ckpt.report/1"}"#,
            r#"{"schema": "ckpt.pipeline/0"}"#,
            r#"{"schema": "ckpt.pipeline/"}"#,
            r#"{"schema": "ckpt.pipeline/1"}"#,
            r#"{"stages_complete": "all"}"#,
        ] {
            assert!(matches!(parse(text), PipelineStateError::Damaged(_)), "{text}");
        }
    }
}
