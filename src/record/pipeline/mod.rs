//! The state of a pipeline: which of its stages are finished, and what each read and left.

mod cleanup;
mod file;
mod stage;
mod state;
mod status;

pub use cleanup::{CLEANUP_SCHEMA, CleanupEntry, CleanupReason};
pub use file::{FileRecord, Fingerprint, Lifetime};
pub use stage::{Edit, Review, StageRecord};
pub use state::{PIPELINE_SCHEMA, PipelineState, PipelineStateError};
pub use status::{PipelineStatus, StageStatus};
