//! The formats: bytes in, structure and findings out. No room here knows a path.

mod flaw;
mod json;

pub mod hugging_face;
pub mod safetensors;

pub use flaw::Flaw;
