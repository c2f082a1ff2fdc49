//! safetensors: a JSON header and the tensors' bytes.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `n`, the header's length: unsigned, little-endian |
//! | 8 | `n` | the header: a JSON object in UTF-8, padded at its end with spaces |
//! | 8 + `n` | the rest | the data: tensors without holes, little-endian, row-major |
//!
//! The header maps each tensor's name to `{"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}`,
//! with offsets counted from the start of the data; `__metadata__` maps strings to strings.
//! Source: the [specification](https://github.com/huggingface/safetensors#format).
//!
//! The `safetensors` crate is lax where its specification is strict: it lets a repeated name win over
//! the first one, so that two readers can see two different files. This reader refuses whatever two
//! readers could read differently, and says of each refusal whether the bytes are damaged or fine
//! and of no use. A name is a name: it is never taken for a path.

mod check;
mod header;
mod parse;
mod proof;
mod sniff;
pub mod structure;
mod write;

pub use header::{Header, MAX_HEADER_BYTES, Tensor, read_header};
pub use parse::MAX_RANK;
pub use proof::{PROOF_KEY, PROOF_OPENING, find_proof, is_head_damaged, read_proof};
pub use sniff::looks_like;
pub use write::{SafetensorsEncoding, encode};

#[cfg(test)]
mod tests;
