//! The writer of pickles: a tree in, the bytes of `data.pkl` out.
//!
//! Protocol 2, with exactly the opcodes and names that PyTorch's own safe reader
//! (`torch.load(weights_only=True)`, since 2.6 the default) takes: see `_weights_only_unpickler.py` of
//! PyTorch 2.13. What can't be written so is refused with the keys that lead to it; nothing is left out or
//! changed silently.
//!
//! A first pass over the tree (`survey`) finds what is shared, which storages are used and as what, and
//! what can't be written (`fit`, `fit_tensor`). The second (`emit`, `tensor`) writes. Neither recurses. What
//! is shared in the tree is shared in the pickle, by `PUT` and `GET`. The same tree gives the same bytes.

mod emit;
mod fit;
mod fit_tensor;
mod refusal;
mod storages;
mod survey;
mod tensor;
#[cfg(test)]
mod tests;
mod unfit;

pub(crate) use refusal::Refusal;
pub(crate) use storages::Planned;
pub(crate) use unfit::unfit;

use super::read;
use crate::Error;
use crate::format::torch::ReadOptions;
use crate::tensor::Tree;
use survey::Survey;

/// A tree as a pickle.
#[derive(Debug)]
pub(crate) struct Written {
    /// The pickle.
    pub(crate) bytes: Vec<u8>,
    /// The storages that it names, by their keys: `0`, `1`, …
    pub(crate) storages: Vec<Planned>,
}

/// Writes a tree as a pickle.
///
/// # Errors
///
/// Something in the tree can't be written so that PyTorch's safe reader takes it; see the module's
/// documentation. The error names the keys that lead to it, and its type.
pub(crate) fn write(tree: &Tree) -> Result<Written, Error> {
    let whole = |why: String| Refusal::whole(why).error(tree);
    let survey = Survey::of(tree).map_err(|refusal| refusal.error(tree))?;
    tree.walk(|_| {}).map_err(|error| whole(error.to_string()))?;
    let bytes = emit::emit(tree, &survey);
    check(&bytes, &survey).map_err(whole)?;
    Ok(Written { bytes, storages: survey.storages.into_planned() })
}

/// Reads a pickle back: what the checks of single values can't see is seen here. Two keys may be equal for
/// Python and not for us (`1` and `True`), or a tuple that is a key may hold a list.
fn check(bytes: &[u8], survey: &Survey) -> Result<(), String> {
    let pickle = read(bytes, &ReadOptions::default()).map_err(|fault| fault.to_string())?;
    if let Some(what) = pickle.unknown_globals.first().or(pickle.beyond_torch.as_ref()) {
        return Err(format!("PyTorch's safe reader would refuse it: {what}"));
    }
    pickle.tree.walk(|_| {}).map_err(|error| error.to_string())?;
    match Survey::of(&pickle.tree) {
        Ok(read) if read.entries == survey.entries => Ok(()),
        Ok(_) => Err("two keys of a map, or two items of a set, are equal for Python".to_owned()),
        Err(refusal) => Err(refusal.why),
    }
}
