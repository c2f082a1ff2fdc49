//! A managed checkpoint: the directory `step-0000001200/` that the manager commits as a whole.
//!
//! ```text
//! run/ckpt.json                        the run's layout
//! run/main/step-0000001200/
//!     state.safetensors                the state, which carries its own proof
//!     config.json                      further artifacts
//!     manifest.json                    the list of them, with sizes and digests; written last
//! ```
//!
//! The manifest makes the directory a checkpoint: it is complete, and proves itself
//! ([`Manifest`](crate::record::Manifest)).
//!
//! Everything here is pure: names and bytes in, facts out.

mod manifest;
mod names;

pub use manifest::{looks_like_manifest, read_manifest};
pub use names::{RUN_FILE, checkpoint_id, unlisted};
