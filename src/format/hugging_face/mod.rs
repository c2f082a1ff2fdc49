//! Hugging Face: a checkpoint of several files.
//!
//! **Sharded weights**: `NAME.index.json` beside its shards.
//!
//! ```json
//! {"metadata": {"total_size": 8192}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors"}}
//! ```
//!
//! There is no specification; what is read here is what `save_pretrained` of `transformers` and
//! `save_torch_state_dict` of `huggingface_hub` write (`serialization/_base.py` there), and what
//! their readers ask for: `weight_map`, and the files that it names.
//!
//! **A Trainer's checkpoint**: the directory `checkpoint-STEP` that `transformers.Trainer` writes,
//! with weights, optimizer, scheduler, random number generators and `trainer_state.json`
//! (`trainer.py` there, `_save_checkpoint`).
//!
//! Everything here is pure: names and bytes in, facts out.

mod document;
mod index;
mod shards;
mod state;
mod trainer;

pub use document::MAX_DOCUMENT_BYTES;
pub use index::{Index, read_index};
pub use shards::check_shards;
pub use state::{TrainerState, read_trainer_state};
pub use trainer::{
    Artifact, Role, TrainerArtifacts, checkpoint_step, is_trainer_directory, trainer_artifacts,
};

#[cfg(test)]
mod tests;
