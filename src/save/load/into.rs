//! Loading into tensors that are there already.

use std::collections::HashMap;
use std::path::Path;

use super::LoadOptions;
use super::Opened;
use super::eager::Reading;
use super::structure::{Place, Structure};
use crate::io::FillTarget;
use crate::record::{Code, Finding, Level, quoted};
use crate::tensor::{Body, Source, StorageId, Tensor, gather_into};
use crate::{Dtype, Error};

/// A tensor that is there already, and is to get its elements from a checkpoint.
#[derive(Debug)]
pub struct Target<'a> {
    /// The keys that lead to the tensor in the checkpoint, joined by dots.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: Dtype,
    /// The length of each dimension.
    pub shape: &'a [u64],
    /// Its memory: little-endian and row-major, without gaps.
    pub bytes: &'a mut [u8],
}

/// A target, with the tensor in the file.
struct Match<'m, 'a> {
    target: &'m mut Target<'a>,
    tensor: &'m Tensor,
    storage: StorageId,
}

/// Loads tensors of a checkpoint into memory that is there already, without a second copy of them.
///
/// Names, dtypes and shapes are held against the checkpoint first: where any differs, nothing is touched.
/// Tensors that fill their storage are read straight to their places. Views of a larger storage, big-endian
/// and deflated ones go through a temporary of that storage. The options' `access` and `tensors` don't matter
/// here; tensors of the file that aren't among the targets are left there.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("model.safetensors");
/// # let file = b"\x3a\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}  \0\0\0\0\0\0\x80\x3f";
/// # std::fs::write(&path, file)?;
/// use ckpt::save::Target;
/// use ckpt::{Dtype, LoadOptions, load_into};
///
/// let mut weight = [7; 8];
/// let target = Target { name: "w", dtype: Dtype::F32, shape: &[2, 1], bytes: &mut weight };
/// load_into(&path, &mut [target], &LoadOptions::default())?;
/// assert_eq!(weight, [0, 0, 0, 0, 0, 0, 128, 63]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`load`](super::load()). Where the damage was found, or the file couldn't be read, after the first bytes
/// had been written, the error says that the targets are partly overwritten.
pub fn load_into(path: &Path, targets: &mut [Target<'_>], options: &LoadOptions) -> Result<(), Error> {
    let opened = Opened::open(path, options)?;
    let matches = match_all(path, &opened, targets)?;
    if matches.is_empty() {
        return Ok(());
    }
    fill(path, &opened, matches, options).map_err(partly)
}

/// Finds each target's tensor. Nothing is touched where one doesn't fit.
fn match_all<'m, 'a>(
    path: &Path,
    opened: &'m Opened,
    targets: &'m mut [Target<'a>],
) -> Result<Vec<Match<'m, 'a>>, Error> {
    let tensors = opened.listing.tensors();
    let one = |target: &'m mut Target<'a>| {
        let tensor = tensors.get(target.name).and_then(|id| opened.tensor(*id));
        check(tensor, target).map_err(|finding| Error::found(path, *finding))?;
        let needed = tensor.and_then(Tensor::len_bytes);
        if needed != Some(target.bytes.len() as u64) {
            let (name, given) = (quoted(target.name), target.bytes.len());
            let needed = needed.unwrap_or(u64::MAX);
            return Err(Error::usage(format!(
                "the memory for {name} has {given} bytes, and {needed} are needed"
            )));
        }
        match tensor.map(|tensor| (tensor, &tensor.body)) {
            Some((tensor, Body::Strided { storage, .. })) if has_bytes(opened, tensor, *storage) => {
                Ok(Match { target, tensor, storage: *storage })
            }
            _ => {
                let message = "the tensor has no elements of its own: it is sparse, nested, made of an array, or on the meta device";
                let finding = Finding::incompatible(Code::KeyMissing, Level::Keys, message);
                Err(Error::found(path, finding.at_tensor(target.name)))
            }
        }
    };
    targets.iter_mut().map(one).collect()
}

fn has_bytes(opened: &Opened, tensor: &Tensor, storage: StorageId) -> bool {
    tensor.len_bytes() == Some(0) || !matches!(opened.structure.place(storage), Place::Nowhere)
}

/// Holds a tensor's name, dtype and shape against the target's.
fn check(tensor: Option<&Tensor>, target: &Target<'_>) -> Result<(), Box<Finding>> {
    let name = quoted(target.name);
    let (code, message) = match tensor {
        None => (Code::KeyMissing, format!("there is no tensor {name}")),
        Some(tensor) if tensor.dtype != target.dtype => {
            let message = format!("{name} has the dtype {}, and the target {}", tensor.dtype, target.dtype);
            (Code::DtypeMismatch, message)
        }
        Some(tensor) if tensor.shape != target.shape => {
            let message =
                format!("{name} has the shape {:?}, and the target {:?}", tensor.shape, target.shape);
            (Code::ShapeMismatch, message)
        }
        Some(_) => return Ok(()),
    };
    Err(Box::new(Finding::incompatible(code, Level::Keys, message).at_tensor(target.name)))
}

/// Reads the elements to their places.
fn fill(
    path: &Path,
    opened: &Opened,
    matches: Vec<Match<'_, '_>>,
    options: &LoadOptions,
) -> Result<(), Error> {
    let Opened { source, structure, listing } = opened;
    let names = listing.names(&structure.tree);
    let reading = Reading { path, source, structure, names: &names, options };
    let (mut ids, mut straight) = (Vec::new(), Vec::new());
    let mut others: HashMap<StorageId, Vec<Match<'_, '_>>> = HashMap::new();
    for Match { target, tensor, storage } in matches {
        match structure.place(storage) {
            _ if target.bytes.is_empty() => {}
            Place::At(range, _)
                if !structure.big_endian
                    && !is_part(structure, storage)
                    && fills(tensor, range.end - range.start) =>
            {
                ids.push(storage);
                straight.push(FillTarget { offset: range.start, bytes: &mut *target.bytes });
            }
            _ => others.entry(storage).or_default().push(Match { target, tensor, storage }),
        }
    }
    // Tied tensors come from one storage, which is checked once.
    ids.sort_unstable();
    ids.dedup();
    reading.checked(&ids, |scan, checks| {
        source.read_into(straight, scan, &|at, bytes| checks.feed(at, bytes))
    })?;
    for (id, matches) in others {
        let data = reading.read(&[id])?;
        let bytes = data.first().map_or(Ok(None), Source::bytes)?.unwrap_or_default();
        for Match { target, tensor, .. } in matches {
            gather_into(bytes, tensor, target.bytes).ok_or_else(|| beyond(path, target.name))?;
        }
    }
    Ok(())
}

/// Returns whether a storage lies in another, which is to be read with it: a proof has no digests of parts.
fn is_part(structure: &Structure, storage: StorageId) -> bool {
    structure.tree.storage(storage).is_some_and(|storage| storage.part_of.is_some())
}

/// Returns whether a tensor is all of its storage, in order.
fn fills(tensor: &Tensor, storage_bytes: u64) -> bool {
    tensor.contiguous_start() == Some(0) && tensor.len_bytes() == Some(storage_bytes)
}

/// The error for a tensor that reaches beyond its storage; readers refuse such files before.
fn beyond(path: &Path, name: &str) -> Error {
    let message = "the tensor reaches beyond its storage";
    let finding = Finding::corrupted(Code::TensorOutOfBounds, Level::Load, message);
    Error::found(path, finding.at_tensor(name))
}

/// Says what the targets are worth now.
fn partly(error: Error) -> Error {
    error.with_note("the targets are partly overwritten: don't use them")
}
