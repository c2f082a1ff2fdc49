//! One checkpoint back in.
//!
//! The structure is read first (`structure`), what is asked of it is held against it (`select`), and only then
//! is any tensor read: into memory (`eager`), at the first look (`mapped`), into memory that the caller provides
//! (`provided`), into tensors that are there already (`into`), or anew at each look, for who passes the bytes on (`streamed`). Each byte is held against its checksum in the pass that reads it (`checks`).

mod checks;
mod convert;
mod eager;
mod faults;
mod into;
mod mapped;
mod options;
mod provided;
mod select;
mod streamed;
mod structure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::digest::Digest;
use crate::io::{FileSource, Mapping, ReadAt as _};
use crate::record::{Code, Finding, FormatKind, Level, Proof};
use crate::tensor::{Data, Node, NodeId, State, StorageId, Tree};
use eager::Reading;
use select::Listing;

pub use into::{Target, load_into};
pub use options::{Access, LoadOptions};
pub(super) use streamed::stream;
pub(crate) use structure::metadata_of;
pub(super) use structure::{Place, Record, Structure, foreign, own, torch_metadata};

/// Loads a checkpoint: a safetensors file, or one that `torch.save` wrote.
///
/// By default the file is mapped into memory where its file system makes that fast and safe, and a tensor is
/// read and checked when it is first looked at: damage then shows at [`bytes`](crate::tensor::TensorRef::bytes),
/// not here. [`Access::Eager`] reads and checks everything at once.
///
/// Nothing of it is executed. What carries a checksum is held against it while it is read: the blocks of a
/// proof, or the CRC-32 of an archive's records. With [`Access::Mapped`] that is when a tensor is first looked
/// at. Other formats have no checksums, and damage in them can't be seen.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("model.safetensors");
/// # let file = b"\x3a\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}  \0\0\0\0\0\0\x80\x3f";
/// # std::fs::write(&path, file)?;
/// use ckpt::{LoadOptions, load};
///
/// let options = LoadOptions::default().with_required("w:f32[2,*]".parse()?);
/// let state = load(&path, &options)?;
/// let weight = state.tensor("w").ok_or_else(|| ckpt::Error::usage("no weight"))?;
/// assert_eq!(*weight.bytes()?, [0, 0, 0, 0, 0, 0, 128, 63]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The file can't be read; it is damaged, or of no use here
/// ([`ErrorKind::Corrupted`](crate::ErrorKind), [`ErrorKind::Incompatible`](crate::ErrorKind)), and
/// [`Error::finding`] says what and where; or it hasn't what the options require.
pub fn load(path: &Path, options: &LoadOptions) -> Result<State<'static>, Error> {
    load_whole(path, options).map(|loaded| loaded.state)
}

/// A checkpoint that was loaded, with what a state has no place for.
pub(crate) struct Loaded {
    /// The values.
    pub(crate) state: State<'static>,
    /// The file, open.
    pub(crate) source: Arc<FileSource>,
    /// What the content is.
    pub(crate) format: FormatKind,
    /// The caller's own metadata.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The proof that the file carries; its head is as it was written.
    pub(crate) proof: Option<Proof>,
    /// A digest of the checksums of an archive's records, where each has one.
    pub(crate) records: Option<Digest>,
}

/// As [`load`], for who passes more on than the state, or wants to know whether the file changed since.
pub(crate) fn load_whole(path: &Path, options: &LoadOptions) -> Result<Loaded, Error> {
    Opened::open(path, options)?.load(path, options)
}

/// Opens a checkpoint to be read piece by piece, once all of it was read and held against its checksums.
pub(crate) fn load_checked(path: &Path, options: &LoadOptions) -> Result<Loaded, Error> {
    let options = LoadOptions { access: Access::Streamed, memory: None, ..options.clone() };
    let opened = Opened::open(path, &options)?;
    opened.check(path, &options)?;
    opened.load(path, &options)
}

/// Opens a checkpoint to be read piece by piece. Its head is held against its proof, its data isn't.
pub(super) fn open_streamed(path: &Path, options: &LoadOptions) -> Result<Loaded, Error> {
    let options = LoadOptions { access: Access::Streamed, memory: None, ..options.clone() };
    load_whole(path, &options)
}
/// Returns the storages of what is left when some tensors aren't loaded.
fn wanted(tree: &Tree, unselected: &HashSet<NodeId>) -> Vec<StorageId> {
    let all = || (0..u32::try_from(tree.storages().len()).unwrap_or(u32::MAX)).map(StorageId).collect();
    if unselected.is_empty() { all() } else { tree.pruned(&|id| unselected.contains(&id)).1 }
}

/// A checkpoint that has all that is required of it, and of which no tensor was read.
struct Opened {
    source: Arc<FileSource>,
    structure: Structure,
    listing: Listing,
}

impl Opened {
    fn open(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        refuse_several(path)?;
        let source = open(path, options)?;
        let structure = Structure::read(path, &source, options)?;
        let listing = Listing::of(path, &structure.tree)?;
        listing.check(path, &structure.tree, options)?;
        Ok(Self { source: Arc::new(source), structure, listing })
    }

    /// Reads all that is asked for, and holds it against its checksums.
    fn check(&self, path: &Path, options: &LoadOptions) -> Result<(), Error> {
        let Self { source, structure, listing } = self;
        let names = listing.names(&structure.tree);
        let reading = Reading { path, source, structure, names: &names, options };
        reading.check(&wanted(&structure.tree, &listing.unselected(options)))
    }

    fn load(mut self, path: &Path, options: &LoadOptions) -> Result<Loaded, Error> {
        let source = Arc::clone(&self.source);
        let (format, records) = (self.structure.format, self.structure.records);
        let metadata = std::mem::take(&mut self.structure.metadata);
        let proof = self.structure.proof.as_ref().map(|proven| proven.proof.clone());
        Ok(Loaded { state: self.state(path, options)?, source, format, metadata, proof, records })
    }

    /// Reads what is asked for, or has it read later.
    fn state(self, path: &Path, options: &LoadOptions) -> Result<State<'static>, Error> {
        let unselected = self.listing.unselected(options);
        let Self { source, mut structure, listing } = self;
        let left_out = |state: State<'static>| {
            if unselected.is_empty() { state } else { state.pruned(&|id| unselected.contains(&id)) }
        };
        let is_mapped = match options.access {
            Access::Streamed if options.memory.is_none() => {
                return Ok(left_out(stream(path, &source, structure)?));
            }
            Access::Mapped => true,
            Access::Eager | Access::Streamed => false,
            Access::Auto => Mapping::is_fast_and_safe(&source),
        };
        let names = listing.names(&structure.tree);
        let wanted = wanted(&structure.tree, &unselected);
        let reading = Reading { path, source: &source, structure: &structure, names: &names, options };
        let data = match &options.memory {
            Some(memory) => provided::read(&reading, &wanted, &**memory)?,
            None if is_mapped => mapped::map(&reading, &source, &wanted)?,
            None => reading.read(&wanted)?,
        };
        let mut by_id: HashMap<StorageId, Data<'static>> = wanted.into_iter().zip(data).collect();
        let count = u32::try_from(structure.places.len()).unwrap_or(u32::MAX);
        let all = (0..count)
            .map(|number| by_id.remove(&StorageId(number)).unwrap_or_else(|| Data::from(Vec::new())));
        let tree = std::mem::replace(&mut structure.tree, Tree::new(Vec::new(), Vec::new(), NodeId(0)));
        Ok(left_out(State::from_parts(tree, all.collect())))
    }

    /// Returns a tensor by its number.
    fn tensor(&self, id: NodeId) -> Option<&crate::tensor::Tensor> {
        if let Node::Tensor(tensor) = self.structure.tree.node(id) { Some(tensor) } else { None }
    }
}

/// Opens the file, or the part of it that is the checkpoint.
fn open(path: &Path, options: &LoadOptions) -> Result<FileSource, Error> {
    let source = FileSource::open(path).map_err(|error| Error::io(path, "read it", error))?;
    let Some(section) = options.section.clone() else { return Ok(source) };
    let bytes = source.len();
    source.section(section.clone()).map_err(|_| {
        let Range { start, end } = section;
        let message = format!("the checkpoint lies at bytes {start}..{end}, and the file has {bytes}");
        Error::found(path, Finding::corrupted(Code::Truncated, Level::Size, message))
    })
}

/// Refuses a checkpoint of several files: which states they make is for who knows them to say.
fn refuse_several(path: &Path) -> Result<(), Error> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let what = if path.is_dir() {
        "it is a directory: load the files in it one by one"
    } else if name.ends_with(".index.json") {
        "it is the index of a checkpoint of several files: load the shards that it names one by one"
    } else {
        return Ok(());
    };
    Err(Error::usage(what).at(path))
}
