//! The formats: bytes in, structure and findings out. No room here knows a path.

mod cursor;
mod detect;
mod encoding;
mod flaw;
mod head;
mod json;
mod proven;
mod read;

pub mod dcp;
pub mod hugging_face;
pub mod managed;
pub mod safetensors;
pub mod torch;
pub mod zip;

pub use detect::{beginning_of, detect};
pub use encoding::{EncodeOptions, Encoding, Head, WRITER};
pub use flaw::Flaw;
pub use proven::{Carried, Proven, head_digest};
pub(crate) use read::read_vec;
