//! The serialisable facts: what a check found, and what it says of a checkpoint.
//!
//! This is the one JSON vocabulary of the project. `docs/report.md` describes it for those who read
//! it from other programs; a test holds that page against these types.

mod aggregated;
mod canonical;
mod checkpoint_id;
mod code;
mod compared;
mod converted;
mod copy;
mod duration;
mod extraction;
mod finding;
mod info;
mod kind;
mod level;
mod listed;
mod manifest;
mod marker;
mod merged;
mod model_config;
mod pipeline;
mod position;
mod proof;
mod prune;
mod report;
mod salvaged;
mod scrub;
mod seal;
mod sealed;
mod self_proving;
mod skipped;
mod surveyed;
mod tensor_info;
mod verdict;
mod words;

pub use aggregated::{AGGREGATE_SCHEMA, Aggregated, FEATURES_SCHEMA, SetAside};
pub(crate) use canonical::{MAX_CONFIG_DEPTH, canonical_digest};
pub use checkpoint_id::{CheckpointId, NoCheckpointId};
pub use code::Code;
pub use compared::{Compared, ComparedBy, DIFF_SCHEMA, Differing, DifferingElements, DifferingKind};
pub use converted::{CONVERT_SCHEMA, Converted, Dropped};
pub use copy::{COPY_SCHEMA, Copied, CopiedFile};
pub(crate) use duration::parse_duration;
pub use extraction::{
    EXTRACTION_RANK_SCHEMA, EXTRACTION_SCHEMA, ExtractionManifest, ExtractionRecord, ExtractionRecordError,
    InputFingerprint, InputUnit, RankRecord, ShardRecord, StalledRank,
};
pub use finding::{Finding, Place};
pub use info::{INFO_SCHEMA, Info};
pub use kind::FormatKind;
pub use level::{Level, NoLevel};
pub use listed::Listed;
pub(crate) use manifest::is_plain;
pub use manifest::{Artifact, Manifest, ManifestError};
pub use marker::{Described, Marker, MarkerFit};
pub use merged::{MERGE_SCHEMA, MergeOutcome, Merged};
pub use model_config::{ModelConfig, ModelConfigError};
pub use pipeline::{
    CLEANUP_SCHEMA, CleanupEntry, CleanupReason, Edit, FileRecord, Fingerprint, Lifetime, PIPELINE_SCHEMA,
    PipelineState, PipelineStateError, PipelineStatus, Review, StageRecord, StageStatus,
};
pub use position::{NoPosition, Position};
pub use proof::{BLOCK_BYTES, Proof, ProofError, block_ranges};
pub use prune::{CheckpointStanding, Decision, Goal, PRUNE_SCHEMA, PruneAction, Reason};
pub use report::{Integrity, REPORT_SCHEMA, Report};
pub use salvaged::{Evidence, Missing, SALVAGE_SCHEMA, Salvaged};
pub use scrub::{SCRUB_SCHEMA, ScrubEnd, ScrubSummary, Standing};
pub use seal::{Seal, SealDigests};
pub use sealed::{SEAL_SCHEMA, SealOutcome, Sealed};
pub use skipped::Skipped;
pub use surveyed::{LIST_SCHEMA, Surveyed};
pub use tensor_info::TensorInfo;
pub use verdict::Verdict;
pub(crate) use words::{LISTED, first_few, quoted};
