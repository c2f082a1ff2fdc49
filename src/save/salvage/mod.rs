//! What is left of a damaged checkpoint.
//!
//! The structure is read as far as it can be (`remains`), from the header of a file that was cut too
//! (`cut`). What its data is worth is judged storage by storage (`judge`); tensors that are intact are
//! saved as any state is (`run`).
//!
//! | the file | what proves a tensor | what proves names, shapes and plain values |
//! |---|---|---|
//! | a proof, head intact | the digests of its blocks | the root |
//! | a safetensors file with a proof, head damaged | nothing; its bytes are proven, if the digests fit them | nothing |
//! | PyTorch's archive, without a proof or with a damaged one | the CRC-32 of its record | the CRC-32 of `data.pkl` |
//! | the same, without a usable directory | the same, from local headers or descriptors | the same |
//! | any other | nothing | nothing |
//!
//! A digest can't fit other bytes by chance, even one that stands in a damaged head: so that the bytes are as
//! they were written. But what they are called, and whether they are floats or integers, the same head says.
//!
//! A tensor is one thing: where any block or part of it is damaged, all of it is missing. A value with holes
//! that somebody trains on is worse than none.

mod cut;
mod judge;
mod options;
mod remains;
mod run;

pub use options::SalvageOptions;
pub use run::salvage;
