//! What `ckpt.dcp` needs: a directory that many ranks fill and one commits, and items that lie in a file one behind
//! the other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckpt::digest::Algorithm;
use ckpt::format::torch::Pickled;
use ckpt::io::commit::{
    Disk as _, Durability, LocalDisk, SharedDirectory, clean_shared, create_directories, resolve_directory,
    write_small,
};
use ckpt::io::{FileSource, ReadAt as _, Section};
use ckpt::record::{BLOCK_BYTES, Code, Finding, Level, Seal};
use ckpt::save::{self as core, SavedItem, SeriesItem, Target};
use ckpt::tensor::{Body, Data, Node, State, Storage, Tensor, TreeBuilder};
use ckpt::validate::{proof_of, verify_source};
use ckpt::{Dtype, Error};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;
use crate::memory::{Memory, Storages};
use crate::options::{LoadArguments, SaveArguments, VerifyArguments};
use crate::records;
use crate::state::give::give;
use crate::state::torch::Torch;

/// The longest metadata that is read, in bytes: some ten million chunks.
const MAX_METADATA_BYTES: u64 = 4 << 30;

/// The longest seal that is read, in bytes: it has 16 digits for each window.
const MAX_SEAL_BYTES: u64 = 1 << 20;

/// Refuses a destination that has something of its name already.
#[pyfunction]
pub(crate) fn refuse_existing(py: Python<'_>, destination: PathBuf) -> PyResult<()> {
    let refused = py.detach(|| resolve_directory(&LocalDisk, &destination).and_then(|path| vacant(&path)));
    refused.map_err(|error| errors::raise(py, &error))
}

fn vacant(path: &Path) -> Result<(), Error> {
    match LocalDisk.stat(path) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            let message = "there is something of that name, and no checkpoint is written into again: name another, \
                           or remove it first";
            Err(Error::usage(message).at(path))
        }
        Err(error) => Err(Error::io(path, "look whether there is such a checkpoint", error)),
    }
}

/// A directory on its way to its name, as the rank has it that will commit it.
#[pyclass(frozen)]
#[derive(Debug)]
pub(crate) struct Staging {
    destination: PathBuf,
    shared: Mutex<Option<SharedDirectory<'static>>>,
}

/// Creates a directory beside a destination, and removes what killed jobs left there.
#[pyfunction]
pub(crate) fn stage(py: Python<'_>, destination: PathBuf) -> PyResult<Staging> {
    let make = || {
        let destination = resolve_directory(&LocalDisk, &destination)?;
        vacant(&destination)?;
        let parent = destination.parent().ok_or_else(|| Error::usage("it has no name").at(&destination))?;
        create_directories(&LocalDisk, parent)?;
        clean_shared(&LocalDisk, parent);
        let shared = SharedDirectory::create(&LocalDisk, parent)?;
        Ok(Staging { shared: Mutex::new(Some(shared)), destination })
    };
    py.detach(make).map_err(|error: Error| errors::raise(py, &error))
}

#[pymethods]
impl Staging {
    /// Where the ranks write; none when it has its name, or was given up.
    #[getter]
    fn path(&self) -> Option<PathBuf> {
        self.lock().as_ref().map(|shared| shared.path().to_owned())
    }

    /// Writes the metadata with its seal, and gives the directory its name.
    fn commit(&self, py: Python<'_>, metadata: &Bound<'_, PyBytes>, durable: bool) -> PyResult<PathBuf> {
        let metadata = metadata.as_bytes().to_vec();
        let durability = if durable { Durability::Full } else { Durability::None };
        let committed = py.detach(|| {
            let shared = self.lock().take();
            let shared = shared.ok_or_else(|| Error::usage("nothing is staged").at(&self.destination))?;
            write_sealed(&shared.path().join(".metadata"), &metadata, durability)?;
            let name = self.destination.file_name().and_then(|name| name.to_str());
            shared.commit(
                name.ok_or_else(|| Error::usage("its name is no text").at(&self.destination))?,
                durability,
            )
        });
        committed.map_err(|error| errors::raise(py, &error))
    }

    /// Removes the directory, unless it has its name.
    fn abandon(&self, py: Python<'_>) {
        py.detach(|| drop(self.lock().take()));
    }
}

impl Staging {
    fn lock(&self) -> MutexGuard<'_, Option<SharedDirectory<'static>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file and its seal, and reads them back.
fn write_sealed(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), Error> {
    let algorithm = Algorithm::default();
    let window = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
    let blocks = bytes.chunks(window).map(|block| algorithm.digest(block)).collect();
    let seal = Seal::of_blocks(bytes.len() as u64, algorithm, blocks);
    write_small(&LocalDisk, path, bytes, durability)?;
    write_small(&LocalDisk, &seal_of(path), seal.encode().as_bytes(), durability)?;
    let source = LocalDisk.open(path).map_err(|error| Error::io(path, "read it back", error))?;
    let mut read = vec![0; bytes.len()];
    let is_same =
        source.len() == bytes.len() as u64 && source.read_exact_at(&mut read, 0).is_ok() && read == bytes;
    if is_same { Ok(()) } else { Err(corrupted(path, "what was written can't be read back as it was")) }
}

fn seal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(Seal::SUFFIX);
    name.into()
}

/// Reads a file as a whole, and holds it against its seal where it has one; says whether it has.
#[pyfunction]
pub(crate) fn read_sealed(py: Python<'_>, path: PathBuf) -> PyResult<(Bound<'_, PyBytes>, bool)> {
    let (bytes, is_sealed) = py.detach(|| sealed(&path)).map_err(|error| errors::raise(py, &error))?;
    Ok((PyBytes::new(py, &bytes), is_sealed))
}

fn sealed(path: &Path) -> Result<(Vec<u8>, bool), Error> {
    let failed = |error| Error::io(path, "read it", error);
    let bytes = LocalDisk.read(path, MAX_METADATA_BYTES).map_err(failed)?;
    let place = seal_of(path);
    if LocalDisk.stat(&place).map_err(failed)?.is_none() {
        return Ok((bytes, false));
    }
    let text = LocalDisk.read(&place, MAX_SEAL_BYTES).map_err(|error| Error::io(&place, "read it", error))?;
    let seal = Seal::parse(&text).ok_or_else(|| corrupted(&place, "it is no seal, or a damaged one"))?;
    if seal.bytes != bytes.len() as u64 {
        let message = format!("it has {} bytes, and was sealed with {}", bytes.len(), seal.bytes);
        return Err(corrupted(path, &message));
    }
    if let Some(digests) = &seal.digests {
        let window = usize::try_from(digests.block_bytes).unwrap_or(usize::MAX).max(1);
        let blocks: Vec<_> = bytes.chunks(window).map(|block| digests.algorithm.digest(block)).collect();
        if blocks != digests.blocks {
            return Err(corrupted(path, "its bytes aren't those that were sealed: they are damaged"));
        }
    }
    Ok((bytes, true))
}

fn corrupted(path: &Path, message: &str) -> Error {
    Error::found(path, Finding::corrupted(Code::ChecksumMismatch, Level::Container, message))
}

/// What is to be saved as an item, as `ckpt/dcp/_write.py` says it.
#[derive(Debug, FromPyObject)]
pub(crate) enum Item<'py> {
    /// A pickle with the storages that it refers to.
    Pickle(Bound<'py, PyBytes>, Vec<Bound<'py, PyAny>>),
    /// What `torch.save` wrote, or bytes of somebody's own.
    Bytes(Bound<'py, PyBytes>),
    /// A tensor: strided, contiguous, and on the host.
    Tensor(Bound<'py, PyAny>),
}

/// An item with its memory.
enum Held {
    State(State<'static>),
    Pickled(Pickled<'static>),
    Bytes(Vec<u8>),
}

impl Held {
    fn of(py: Python<'_>, item: &Item<'_>) -> PyResult<Self> {
        match item {
            Item::Tensor(tensor) => tensor_state(py, tensor).map(Self::State),
            Item::Bytes(bytes) => {
                let bytes = bytes.as_bytes().to_vec();
                Ok(Pickled::of_archive(bytes.clone()).map_or(Self::Bytes(bytes), Self::Pickled))
            }
            Item::Pickle(pickle, storages) => {
                let data = |storage: &Bound<'_, PyAny>| Ok(Data::new(Arc::new(Memory::of(storage)?)));
                let data = storages.iter().map(data).collect::<PyResult<Vec<_>>>()?;
                let pickled = Pickled::new(pickle.as_bytes().to_vec(), data);
                pickled.map(Self::Pickled).map_err(|error| errors::raise(py, &error))
            }
        }
    }

    fn as_item(&self) -> SeriesItem<'_> {
        match self {
            Self::State(state) => SeriesItem::State(state),
            Self::Pickled(pickled) => SeriesItem::Pickled(pickled),
            Self::Bytes(bytes) => SeriesItem::Bytes(bytes),
        }
    }
}

/// Where a tensor lies in its storage.
struct Spot {
    dtype: Dtype,
    shape: Vec<u64>,
    range: Range<u64>,
    memory: Memory,
}

impl Spot {
    fn of(py: Python<'_>, tensor: &Bound<'_, PyAny>) -> PyResult<Self> {
        let usage = |what: &str| errors::raise(py, &Error::usage(what));
        let dtype = Torch::get(py)?.dtype_of(&tensor.getattr("dtype")?);
        let dtype = dtype.ok_or_else(|| usage("the tensor has a dtype of its own"))?;
        let is_plain =
            tensor.getattr("is_cpu")?.is_truthy()? && tensor.call_method0("is_contiguous")?.is_truthy()?;
        if !is_plain {
            return Err(usage("the tensor isn't contiguous memory of the host"));
        }
        let item: u64 = tensor.call_method0("element_size")?.extract()?;
        let count: u64 = tensor.call_method0("numel")?.extract()?;
        let offset: u64 = tensor.call_method0("storage_offset")?.extract()?;
        let memory = Memory::of(&tensor.call_method0("untyped_storage")?)?;
        let shape = tensor.call_method0("size")?.extract()?;
        Ok(Self { dtype, shape, range: offset * item..(offset + count) * item, memory })
    }
}

/// Makes a state that is one tensor: of a larger storage, its own bytes alone.
fn tensor_state(py: Python<'_>, tensor: &Bound<'_, PyAny>) -> PyResult<State<'static>> {
    let Spot { dtype, shape, range, memory } = Spot::of(py, tensor)?;
    let make = || {
        let mut tree = TreeBuilder::default();
        let bytes = range.end - range.start;
        let storage = Storage {
            key: String::new(),
            dtype: Some(dtype),
            bytes,
            device: "cpu".to_owned(),
            part_of: None,
        };
        let storage = tree.storage(storage)?;
        let strides = row_major(&shape);
        let body = Body::Strided { storage, offset: 0, strides, quantizer: None };
        let root = tree.node(Node::Tensor(Box::new(Tensor::new(dtype, shape.clone(), body))))?;
        let data = Data::part(Arc::new(memory), range.clone())?;
        Ok(State::from_parts(tree.finish(root)?, vec![data]))
    };
    make().map_err(|error: Error| errors::raise(py, &error))
}

/// Returns the strides of a contiguous tensor, in elements.
fn row_major(shape: &[u64]) -> Vec<u64> {
    let mut stride = 1_u64;
    let strides = shape.iter().rev().map(|len| {
        let own = stride;
        stride = stride.saturating_mul((*len).max(1));
        own
    });
    let mut strides: Vec<_> = strides.collect();
    strides.reverse();
    strides
}

/// Saves items as one file. Returns for each where it is, its digest, and whether it carries a proof.
#[pyfunction]
pub(crate) fn save_series(
    py: Python<'_>,
    path: PathBuf,
    items: Vec<Item<'_>>,
    arguments: SaveArguments,
) -> PyResult<Vec<(u64, u64, String, bool)>> {
    let held = items.iter().map(|item| Held::of(py, item)).collect::<PyResult<Vec<_>>>()?;
    let options = arguments.options()?;
    let saved = py.detach(|| {
        let items: Vec<_> = held.iter().map(Held::as_item).collect();
        core::save_series(&path, &items, &options)
    });
    let saved = saved.map_err(|error| errors::raise(py, &error))?;
    let place =
        |item: SavedItem| (item.range.start, item.range.end - item.range.start, item.digest, item.is_proven);
    Ok(saved.items.into_iter().map(place).collect())
}

/// One item: its file, its bytes of it, and the id of the proof that it was saved with, where that is known.
#[derive(Debug, FromPyObject)]
pub(crate) struct Place {
    path: PathBuf,
    start: u64,
    end: u64,
    proof: Option<String>,
}

impl Place {
    /// Refuses an item that carries another proof than it was saved with: it is sound, and of another save.
    fn check(&self) -> Result<(), Error> {
        let Some(expected) = &self.proof else { return Ok(()) };
        let failed = |error| Error::io(&self.path, "read it", error);
        let source = FileSource::open(&self.path).map_err(failed)?;
        // A file that is cut is named by who reads it.
        let Ok(section) = Section::new(&source, self.start..self.end) else { return Ok(()) };
        match proof_of(&section) {
            Some(found) if found.proof.id() == *expected => Ok(()),
            Some(_) => {
                Err(self.other("it carries another proof: the file was damaged, or is of another save"))
            }
            None => {
                Err(self
                    .other("no item with its proof is there: the file was damaged, or is of another save"))
            }
        }
    }

    fn other(&self, message: &str) -> Error {
        Error::found(&self.path, Finding::corrupted(Code::ProofDamaged, Level::Container, message))
    }
}

/// Loads an item; raises `Unfit` where it holds what only PyTorch can make.
#[pyfunction]
pub(crate) fn load_item(
    py: Python<'_>,
    place: Place,
    arguments: LoadArguments,
) -> PyResult<Bound<'_, PyAny>> {
    let options = arguments.options(py)?.with_memory(Arc::new(Storages)).with_section(place.start..place.end);
    let state = py.detach(|| place.check().and_then(|()| core::load(&place.path, &options)));
    give(py, &state.map_err(|error| errors::raise(py, &error))?, None)
}

/// Fills a tensor, contiguous and on the host, from an item that is one of the same dtype and shape.
#[pyfunction]
pub(crate) fn load_item_into(
    py: Python<'_>,
    place: Place,
    tensor: &Bound<'_, PyAny>,
    arguments: LoadArguments,
) -> PyResult<()> {
    let options = arguments.options(py)?.with_section(place.start..place.end);
    let Spot { dtype, shape, range, mut memory } = Spot::of(py, tensor)?;
    let filled = py.detach(|| {
        place.check()?;
        let places = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let bytes = places.and_then(|(start, end)| memory.part_mut(start, end.checked_sub(start)?));
        let bytes = bytes.ok_or_else(|| Error::usage("the tensor reaches beyond its storage"))?;
        core::load_into(&place.path, &mut [Target { name: "", dtype, shape: &shape, bytes }], &options)
    });
    filled.map_err(|error| errors::raise(py, &error))
}

/// Reads an item's bytes as they are, and the digest of them.
#[pyfunction]
pub(crate) fn read_item(py: Python<'_>, place: Place) -> PyResult<(Bound<'_, PyBytes>, String)> {
    let read = || {
        place.check()?;
        let failed = |error| Error::io(&place.path, "read it", error);
        let source = FileSource::open(&place.path).map_err(failed)?;
        let Ok(section) = Section::new(&source, place.start..place.end) else {
            let (Place { start, end, .. }, bytes) = (&place, source.len());
            let message = format!("the item lies at bytes {start}..{end}, and the file has {bytes}");
            let finding = Finding::corrupted(Code::Truncated, Level::Size, message);
            return Err(Error::found(&place.path, finding));
        };
        let len = usize::try_from(section.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        section.read_exact_at(&mut bytes, 0).map_err(failed)?;
        let digest = Algorithm::Crc64Nvme.digest(&bytes);
        Ok((bytes, format!("{}:{digest}", digest.algorithm())))
    };
    let (bytes, digest) = py.detach(read).map_err(|error| errors::raise(py, &error))?;
    Ok((PyBytes::new(py, &bytes), digest))
}

/// Checks a checkpoint that is in memory. Returns the report as a dict; `path` is what it says.
#[pyfunction]
pub(crate) fn verify_bytes<'py>(
    py: Python<'py>,
    path: PathBuf,
    bytes: &Bound<'py, PyBytes>,
    arguments: VerifyArguments,
) -> PyResult<Bound<'py, PyAny>> {
    let options = arguments.options(py)?;
    let bytes = bytes.as_bytes().to_vec();
    records::dict(py, &py.detach(|| verify_source(&path, &bytes, &options)))
}
