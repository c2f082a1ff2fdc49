//! A state as a file that `torch.load` reads, with its proof inside.
//!
//! The records lie in the folder `archive/`, in this order:
//!
//! | record | content |
//! |---|---|
//! | `data.pkl` | the values, as a pickle that PyTorch's safe reader takes |
//! | `byteorder`, `version` | `little`, `3` |
//! | `data/0`, `data/1`, … | the storages, in the order of their first use |
//! | `ckpt/metadata` | the caller's own metadata, a JSON object; left out where there is none |
//! | `ckpt/proof` | the [`Proof`](crate::record::Proof) |
//!
//! Each is stored as it is, with its CRC-32. The proof's blocks are the storages' data; its head is all
//! else, with three runs of bytes blank: the root's digits (as `0`), and the proof record's own CRC-32 in its
//! local header and in the directory (as zero bytes).
//!
//! There is no `.format_version`: PyTorch would compute the storages' places by its own layout.

mod encoding;
mod flat;
mod pickled;
mod plan;
#[cfg(test)]
pub(crate) mod tests;

pub use encoding::TorchEncoding;
pub(crate) use flat::check_tensor as check_flat_tensor;
pub use pickled::{Pickled, encode_pickled};

use crate::Error;
use crate::format::EncodeOptions;
use crate::format::torch::pickle::write;
use crate::tensor::State;

/// For whom a file is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavour {
    /// For `torch.load`: every value that its safe reader takes, nested as it likes.
    #[default]
    Full,
    /// For libtorch's C++ `_load_parameters`, which is `loadz_multi` in `tch`: a plain dict of names and
    /// tensors, and nothing else. `torch.load` reads it too.
    Flat,
}

/// Makes a file of a state.
///
/// Small storages are read once for their checksums; no data is copied. The same state and options give the
/// same bytes.
///
/// ```
/// use ckpt::format::{EncodeOptions, Encoding, torch};
/// # use ckpt::tensor::State;
/// # fn example(state: &State<'_>) -> Result<(), ckpt::Error> {
/// let encoding = torch::encode(state, &EncodeOptions::default(), torch::Flavour::Full)?;
/// println!("the file will have {} bytes", encoding.len());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A value can't be written so that PyTorch's safe reader takes it (the error names the keys that lead to
/// it), a storage's bytes aren't there, or a metadata key is the project's own.
pub fn encode<'s>(
    state: &'s State<'_>,
    options: &EncodeOptions,
    flavour: Flavour,
) -> Result<TorchEncoding<'s>, Error> {
    options.check()?;
    if flavour == Flavour::Flat {
        flat::check(state.tree())?;
    }
    let pickle = write::write(state.tree())?;
    if flavour == Flavour::Flat {
        flat::check_storages(&pickle.storages)?;
    }
    let storages: Vec<_> = pickle.storages.iter().map(|planned| planned.id).collect();
    plan::plan(state, options, &pickle.bytes, &storages)
}
