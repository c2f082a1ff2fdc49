//! From the pickle's tree to a description: each chunk and each value with the place of its item.

use std::collections::HashMap;
use std::ops::Range;

use super::names::{class, outside};
use super::read::{Reader, Taken, malformed};
use super::{Chunk, Metadata, Place, Tensor, Value};
use crate::Dtype;
use crate::record::{Code, Finding, Level, TensorInfo, quoted};
use crate::tensor::{Node, NodeId};

/// The newest version of the metadata whose meaning is known. PyTorch promises that readers of a major version
/// understand all files of it.
const NEWEST_MAJOR: u64 = 1;

/// PyTorch's own limit.
const MAX_DIMENSIONS: usize = 64;

/// What copying a chunk, or a place, costs beside its lengths.
const ITEM_COST: usize = 64;

/// An item as it is named: by the value's name and, of a tensor, the offsets of the chunk.
type ItemName<'a> = (&'a str, Option<&'a [i64]>);

/// Where items lie, by name; each is taken by whom it belongs to.
type Places<'a> = HashMap<ItemName<'a>, Place>;

/// Describes what a metadata file says.
pub(super) fn describe(reader: &mut Reader<'_>) -> Taken<Metadata> {
    let state = reader.object(reader.tree.root(), class::METADATA)?;
    let version = read_version(reader, state)?;
    let mut metadata = Metadata { version, save_id: read_save_id(reader, state)?, ..Metadata::default() };
    let mut places = read_places(reader, state, &mut metadata.shards)?;
    let values = reader.field(state, "state_dict_metadata")?;
    for &(key, value) in reader.entries(values, "'state_dict_metadata'")? {
        let name = reader.text(key, "a name")?;
        reader.charge(name.len() + ITEM_COST)?;
        match reader.tree.node(value) {
            Node::Object(object) if *object.global == *class::BYTES => {
                let place = places.remove(&(name, None));
                metadata.values.push(Value { name: name.to_owned(), place });
            }
            _ => metadata.tensors.push(read_tensor(reader, name, value, &mut places)?),
        }
    }
    metadata.strays = places.len() as u64;
    Ok(metadata)
}

/// Reads the version, and refuses that of a later PyTorch.
fn read_version(reader: &mut Reader<'_>, state: Option<NodeId>) -> Taken<Option<String>> {
    let Some(version) = reader.optional(state, "version")? else { return Ok(None) };
    let version = reader.text(version, "the version")?;
    reader.charge(version.len())?;
    let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    match major {
        Some(major) if major > NEWEST_MAJOR => {
            let message = format!("the metadata's version is {}: later than any known one", quoted(version));
            Err(Box::new(Finding::incompatible(Code::ContainerTooNew, Level::Size, message)))
        }
        Some(_) => Ok(Some(version.to_owned())),
        None => Err(malformed(format!("the metadata's version is {}: no version", quoted(version)))),
    }
}

/// Reads the id of the save, where there is one.
fn read_save_id(reader: &mut Reader<'_>, state: Option<NodeId>) -> Taken<Option<String>> {
    let Some(save) = reader.optional(state, "storage_meta")? else { return Ok(None) };
    let save = reader.object(save, class::SAVE)?;
    let Some(id) = reader.optional(save, "save_id")? else { return Ok(None) };
    let id = reader.text(id, "the save's id")?;
    reader.charge(id.len())?;
    Ok(Some(id.to_owned()))
}

/// Reads where each item lies. The names of files go into `shards`, each once.
fn read_places<'a>(
    reader: &mut Reader<'a>,
    state: Option<NodeId>,
    shards: &mut Vec<String>,
) -> Taken<Places<'a>> {
    let mut numbers: HashMap<&'a str, usize> = HashMap::new();
    let mut places = HashMap::new();
    let storage = reader.field(state, "storage_data")?;
    for &(index, info) in reader.entries(storage, "'storage_data'")? {
        let index = reader.object(index, class::INDEX)?;
        let name = reader.text(reader.field(index, "fqn")?, "a name")?;
        let offsets = match reader.optional(index, "offset")? {
            Some(offsets) => Some(reader.size(offsets, "an item's offset")?),
            None => None,
        };
        reader.charge(ITEM_COST + name.len() + offsets.map_or(0, <[i64]>::len))?;
        let info = reader.object(info, class::PLACE)?;
        let path = reader.text(reader.field(info, "relative_path")?, "an item's path")?;
        let shard = shard_number(reader, path, &mut numbers, shards)?;
        let range = read_range(reader, info)?;
        let transforms = read_transforms(reader, info)?;
        let proof = read_word(reader, info, "ckpt_proof")?;
        let digest = read_word(reader, info, "ckpt_digest")?;
        // Of two that Python takes for one, it keeps the last.
        places.insert((name, offsets), Place { shard, range, transforms, proof, digest });
    }
    Ok(places)
}

/// Finds the number of a file, or gives it one.
fn shard_number<'a>(
    reader: &mut Reader<'_>,
    path: &'a str,
    numbers: &mut HashMap<&'a str, usize>,
    shards: &mut Vec<String>,
) -> Taken<usize> {
    // Each time: it is hashed for every item, however often the file shares it.
    reader.charge(path.len())?;
    if let Some(&number) = numbers.get(path) {
        return Ok(number);
    }
    if let Some(reason) = outside(path) {
        let message = format!("an item's path {} {reason}", quoted(path));
        return Err(Box::new(Finding::incompatible(Code::IndexMalformed, Level::Size, message)));
    }
    reader.charge(ITEM_COST)?;
    let number = shards.len();
    shards.push(path.to_owned());
    numbers.insert(path, number);
    Ok(number)
}

/// Reads where an item lies in its file.
fn read_range(reader: &Reader<'_>, info: Option<NodeId>) -> Taken<Range<u64>> {
    let start = reader.length(reader.field(info, "offset")?, "an item's offset")?;
    let length = reader.length(reader.field(info, "length")?, "an item's length")?;
    match start.checked_add(length) {
        Some(end) if i64::try_from(end).is_ok() => Ok(start..end),
        _ => Err(malformed("an item of the metadata ends where no file can")),
    }
}

/// Reads what an item's bytes went through.
fn read_transforms(reader: &mut Reader<'_>, info: Option<NodeId>) -> Taken<Vec<String>> {
    let Some(transforms) = reader.optional(info, "transform_descriptors")? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for &name in reader.items(transforms, "an item's transformations")? {
        let name = reader.text(name, "a transformation")?;
        reader.charge(ITEM_COST + name.len())?;
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Reads what ckpt's own writer says of an item beyond PyTorch's fields.
fn read_word(reader: &mut Reader<'_>, info: Option<NodeId>, field: &str) -> Taken<Option<String>> {
    let Some(word) = reader.optional(info, field)? else { return Ok(None) };
    let word = reader.text(word, "an item's digest")?;
    reader.charge(word.len())?;
    Ok(Some(word.to_owned()))
}

/// Reads what is said of a tensor.
fn read_tensor<'a>(
    reader: &mut Reader<'a>,
    name: &'a str,
    value: NodeId,
    places: &mut Places<'a>,
) -> Taken<Tensor> {
    let state = reader.object(value, class::TENSOR)?;
    let dtype = read_dtype(reader, reader.field(state, "properties")?)?;
    let size = reader.size(reader.field(state, "size")?, "a tensor's size")?;
    if size.len() > MAX_DIMENSIONS {
        return Err(malformed(format!("the tensor {} has {} dimensions", quoted(name), size.len())));
    }
    let shape = unsigned(size);
    if TensorInfo::count(&shape).and_then(|count| dtype.tensor_bytes(count)).is_none() {
        return Err(malformed(format!("the tensor {} is larger than any machine can count", quoted(name))));
    }
    let list = reader.items(reader.field(state, "chunks")?, "a tensor's chunks")?;
    reader.charge(list.len().saturating_mul(ITEM_COST))?;
    let mut chunks = Vec::with_capacity(list.len());
    for &chunk in list {
        chunks.push(read_chunk(reader, name, chunk, &shape, places)?);
    }
    Ok(Tensor { name: name.to_owned(), dtype, shape, chunks })
}

/// Reads the dtype from a tensor's properties: the first of five values that are the object's state.
fn read_dtype(reader: &Reader<'_>, properties: NodeId) -> Taken<Dtype> {
    let [new, old] = class::PROPERTIES;
    let state = reader.object(properties, new).or_else(|_| reader.object(properties, old))?;
    let first = state.and_then(|state| match reader.tree.node(state) {
        Node::Tuple(values) => values.first().copied(),
        _ => None,
    });
    match first.map(|first| reader.tree.node(first)) {
        Some(Node::Dtype(dtype)) => Ok(*dtype),
        _ => Err(malformed("a tensor of the metadata has no dtype")),
    }
}

/// Reads a chunk, which must lie within its tensor. Its place is that of the item with its offsets: a chunk that
/// is there twice has one.
fn read_chunk<'a>(
    reader: &mut Reader<'a>,
    name: &'a str,
    chunk: NodeId,
    shape: &[u64],
    places: &mut Places<'a>,
) -> Taken<Chunk> {
    let state = reader.object(chunk, class::CHUNK)?;
    let offsets = reader.size(reader.field(state, "offsets")?, "a chunk's offsets")?;
    let sizes = reader.size(reader.field(state, "sizes")?, "a chunk's sizes")?;
    reader.charge(name.len() + offsets.len() + sizes.len())?;
    let place = places.remove(&(name, Some(offsets)));
    let (offsets, sizes) = (unsigned(offsets), unsigned(sizes));
    let fits = |((offset, size), length): ((&u64, &u64), &u64)| {
        offset.checked_add(*size).is_some_and(|end| end <= *length)
    };
    let is_inside = offsets.len() == shape.len()
        && sizes.len() == shape.len()
        && offsets.iter().zip(&sizes).zip(shape).all(fits);
    if is_inside {
        Ok(Chunk { offsets, sizes, place })
    } else {
        Err(malformed(format!("a chunk of the tensor {} lies outside of it", quoted(name))))
    }
}

/// Lengths that were found not to be negative.
fn unsigned(lengths: &[i64]) -> Vec<u64> {
    lengths.iter().map(|length| length.unsigned_abs()).collect()
}
