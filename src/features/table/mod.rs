//! Feature files: ids, each with a row of numbers.
//!
//! | form | ids | rows |
//! |---|---|---|
//! | `.pt` | `ids`, `nucleotide` or `proteins`: a list of texts | `data`: a tensor, a list of tensors, a list of lists of floats, or a list of maps with one of those under `mean_representation` |
//! | safetensors that ckpt wrote | the same | the same |
//! | any other safetensors | one of these keys of its metadata: a JSON list of texts | a tensor |
//!
//! `keys` finds out which value is what, `rows` where each row lies, and `narrow` makes Python's floats the float32
//! that `torch.tensor` makes of them. Files of moderate size are read into memory, and checked in that pass; of larger ones
//! the rows stay in the file, but for lists of floats: they are in the pickle, which is read as a whole.

mod ids;
mod keys;
mod narrow;
mod open;
mod options;
mod rows;

pub use open::Table;
pub use options::TableOptions;
