//! A structure's text as a tree, each value checked as it comes.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Contents;
use super::fault::{Step, damaged, fault, too_complex};
use super::wire::{ArrayText, MapText, ObjectText, SparseText, StorageText, Tagged, TensorText, Value};
use super::{MAX_DEPTH, VERSION, check_tensor, keys, row_major};
use crate::format::Flaw;
use crate::format::json::{self, Fault, Word};
use crate::format::safetensors::{Header, Tensor as Stored};
use crate::record::{Code, Finding, Level, quoted};
use crate::tensor::{Array, ArrayData, Body, Map, MapKind, Node, NodeId, Object, Storage, StorageId};
use crate::tensor::{Tensor, Tree};

/// The most values: some 1.6 GB of memory. The shortest is a number with its comma, two bytes of a text that
/// has at most 100 MB.
const MAX_NODES: usize = 50_000_000;

/// What may be spent on comparing keys, for each byte of the structure and in any case: a million maps can
/// have the same long key.
const KEYS_PER_BYTE: usize = 8;
/// See [`KEYS_PER_BYTE`].
const FREE_KEYS: usize = 1 << 20;

/// The names that the parts of a sparse tensor have.
const PARTS: [&str; 6] = ["indices", "values", "crow_indices", "col_indices", "ccol_indices", "row_indices"];

/// Reads a structure and holds it against the header's tensors.
pub(super) fn parse(text: &str, header: &Header) -> Result<Contents, Flaw> {
    let mut builder = Builder {
        header: header.tensors.iter().map(|tensor| (tensor.info.name.as_str(), tensor)).collect(),
        keys: text.len().saturating_mul(KEYS_PER_BYTE).saturating_add(FREE_KEYS),
        ..Builder::default()
    };
    if let Err(fault) = json::read(text, StructureSeed(&mut builder)) {
        return Err(Flaw::Found(builder.explain(&fault)));
    }
    builder.finish().map_err(Flaw::Found)
}

/// The tree so far.
#[derive(Default)]
struct Builder<'h> {
    /// The header's tensors that no storage has named yet.
    header: HashMap<&'h str, &'h Stored>,
    storages: Vec<Storage>,
    ranges: Vec<Option<Range<u64>>>,
    /// The header's tensor of each storage, until a tensor has taken dtype and shape from it: only one may,
    /// so that a long shape isn't copied a million times.
    defaults: Vec<Option<&'h Stored>>,
    nodes: Vec<Node>,
    /// How deep each node's references go.
    depths: Vec<u16>,
    /// What may still be spent on comparing keys.
    keys: usize,
    /// Why reading stopped, where that was not the JSON parser's decision.
    stop: Option<Box<Finding>>,
}

impl<'h> Builder<'h> {
    /// Turns the parser's fault into a finding.
    fn explain(self, fault: &Fault) -> Box<Finding> {
        let place = format!("at byte {} of it", fault.offset);
        if fault.malformed {
            let message = format!("the structure is no JSON, {place}: {}", fault.message);
            return Box::new(Finding::corrupted(Code::HeaderMalformed, Level::Load, message));
        }
        self.stop.unwrap_or_else(|| {
            let message = format!("the structure is JSON of another form, {place}: {}", fault.message);
            Box::new(Finding::incompatible(Code::HeaderMalformed, Level::Load, message))
        })
    }

    /// Ends with the last node as the root.
    fn finish(self) -> Step<Contents> {
        let Some(last) = self.nodes.len().checked_sub(1) else { return damaged("it has no values") };
        // The least of them, so that the message is the same each time.
        if let Some(name) = self.header.keys().min() {
            return damaged(format_args!("it doesn't say where the tensor {} belongs", quoted(name)));
        }
        let root = NodeId(u32::try_from(last).unwrap_or(u32::MAX));
        Ok(Contents { tree: Tree::new(self.nodes, self.storages, root), ranges: self.ranges })
    }

    /// Takes a tensor of the header for a storage.
    fn claim(&mut self, name: &str) -> Step<&'h Stored> {
        let Some(stored) = self.header.remove(name) else {
            let name = quoted(name);
            return damaged(format_args!("the tensor {name} isn't there, or is two storages"));
        };
        Ok(stored)
    }

    fn storage(&mut self, text: StorageText) -> Step {
        let stored = text.tensor.as_deref().map(|name| self.claim(name)).transpose()?;
        let own_bytes = stored.map(|stored| stored.info.bytes);
        let Some(bytes) = text.bytes.or(own_bytes) else { return damaged("a storage has no length") };
        let range = match (stored, text.part_of) {
            (Some(_), Some(_)) => return damaged("a storage is a tensor's and a part of another"),
            (Some(stored), None) if stored.info.bytes == bytes => Some(stored.start..stored.end),
            (Some(_), None) => return damaged("a storage has another length than its tensor"),
            (None, None) => None,
            (None, Some(part)) => self.part(part, bytes)?,
        };
        let dtype = text.dtype.or(stored.map(|stored| stored.info.dtype)).filter(|_| !text.untyped);
        self.storages.push(Storage {
            key: text.tensor.unwrap_or_default(),
            dtype,
            bytes,
            device: text.device.unwrap_or_else(|| "cpu".to_owned()),
            part_of: text.part_of.map(|(whole, offset)| (StorageId(whole), offset)),
        });
        self.ranges.push(range);
        self.defaults.push(stored);
        Ok(())
    }

    /// Where a part of another storage lies.
    fn part(&self, (whole, offset): (u32, u64), bytes: u64) -> Step<Option<Range<u64>>> {
        let (Some(storage), Some(range)) =
            (self.storages.get(whole as usize), self.ranges.get(whole as usize))
        else {
            return damaged("a storage is a part of one that isn't before it");
        };
        match offset.checked_add(bytes) {
            Some(end) if end <= storage.bytes => {
                Ok(range.as_ref().map(|range| range.start + offset..range.start + end))
            }
            _ => {
                Err(fault(Code::TensorOutOfBounds, "a storage reaches outside the one that it is a part of"))
            }
        }
    }

    fn value(&mut self, value: Value) -> Step {
        if self.nodes.len() == MAX_NODES {
            return too_complex(format_args!("more than {MAX_NODES} values"));
        }
        let mut depth = Depth { depths: &self.depths, deepest: 0, keys: &mut self.keys };
        let node = match value {
            Value::None => Node::None,
            Value::Bool(value) => Node::Bool(value),
            Value::Int(value) => Node::Int(value),
            Value::Text(text) => Node::Text(text),
            Value::Tagged(Tagged::Tensor(text)) => {
                let tensor = tensor(*text, &mut depth, &self.nodes, &self.storages, &mut self.defaults)?;
                Node::Tensor(Box::new(tensor))
            }
            Value::Tagged(Tagged::Storage(number)) if (number as usize) < self.storages.len() => {
                Node::Storage(StorageId(number))
            }
            Value::Tagged(tagged) => tagged_node(tagged, &mut depth, &self.nodes)?,
        };
        let depth = depth.deepest;
        if usize::from(depth) > MAX_DEPTH {
            return too_complex(format_args!("values are nested more than {MAX_DEPTH} deep"));
        }
        self.nodes.push(node);
        self.depths.push(depth);
        Ok(())
    }

    fn stop<E: serde::de::Error>(&mut self, finding: Box<Finding>) -> E {
        let error = E::custom(&finding.message);
        self.stop = Some(finding);
        error
    }
}

/// Takes references, and how deep they go.
struct Depth<'a> {
    depths: &'a [u16],
    deepest: u16,
    keys: &'a mut usize,
}

impl Depth<'_> {
    /// Takes a number for a node before this one.
    fn node(&mut self, number: u32) -> Step<NodeId> {
        let Some(depth) = self.depths.get(number as usize) else {
            return damaged(format_args!(
                "value {} refers to {number}, which isn't before it",
                self.depths.len()
            ));
        };
        self.deepest = self.deepest.max(depth.saturating_add(1));
        Ok(NodeId(number))
    }

    fn some(&mut self, number: Option<u32>) -> Step<Option<NodeId>> {
        number.map(|number| self.node(number)).transpose()
    }

    fn list(&mut self, numbers: &[u32]) -> Step<Vec<NodeId>> {
        numbers.iter().map(|&number| self.node(number)).collect()
    }

    fn pairs(&mut self, numbers: &[(u32, u32)]) -> Step<Vec<(NodeId, NodeId)>> {
        numbers.iter().map(|&(key, value)| Ok((self.node(key)?, self.node(value)?))).collect()
    }
}

/// Makes a node of what is neither plain, nor a tensor, nor a storage.
fn tagged_node(tagged: Tagged, depth: &mut Depth<'_>, nodes: &[Node]) -> Step<Node> {
    Ok(match tagged {
        Tagged::Integer(bytes) if is_big(&bytes.0) => Node::BigInt(bytes.0),
        Tagged::Integer(_) => return damaged("an integer isn't in its shortest form"),
        Tagged::Float(bits) => Node::Float(bits.0),
        Tagged::Complex(re, im) => Node::Complex(re.0, im.0),
        Tagged::Surrogates(bytes) => Node::SurrogateText(bytes.0),
        Tagged::Bytes(bytes) => Node::Bytes(bytes.0),
        Tagged::Bytearray(bytes) => Node::ByteArray(bytes.0),
        Tagged::List(items) => Node::List(depth.list(&items)?),
        Tagged::Tuple(items) => Node::Tuple(depth.list(&items)?),
        Tagged::Set(items) => Node::Set(depth.list(&items)?),
        Tagged::Frozenset(items) => Node::FrozenSet(depth.list(&items)?),
        Tagged::Dict(text) => map(MapKind::Dict, &text, depth, nodes)?,
        Tagged::OrderedDict(text) => map(MapKind::OrderedDict, &text, depth, nodes)?,
        Tagged::Counter(text) => map(MapKind::Counter, &text, depth, nodes)?,
        Tagged::Size(lengths) => Node::Size(lengths),
        Tagged::Device(name) => Node::Device(name),
        Tagged::Dtype(dtype) => Node::Dtype(dtype),
        Tagged::Layout(name) => Node::Layout(name),
        Tagged::Qscheme(name) => Node::QScheme(name),
        Tagged::Storage(_) | Tagged::Tensor(_) => return damaged("a value is a storage that isn't there"),
        Tagged::Array(text) => array(*text, depth, nodes)?,
        Tagged::ArrayDtype(name) => Node::ArrayDtype(name),
        Tagged::Global(name) => Node::Global(name),
        Tagged::Object(text) => object(*text, depth)?,
    })
}

/// Returns whether two's complement needs all of these bytes, and more than an `i64` has.
fn is_big(bytes: &[u8]) -> bool {
    let sign = |byte: u8| if byte & 0x80 == 0 { 0 } else { 0xff };
    matches!(bytes, [.., below, last] if bytes.len() > 8 && *last != sign(*below))
}

fn map(kind: MapKind, text: &MapText, depth: &mut Depth<'_>, nodes: &[Node]) -> Step<Node> {
    if text.entries.is_empty() && text.attributes.is_none() {
        return Ok(Node::Map(kind, None));
    }
    let map = Map { entries: depth.pairs(&text.entries)?, attributes: depth.some(text.attributes)? };
    keys::check(nodes, &map, depth.keys)?;
    Ok(Node::Map(kind, Some(Box::new(map))))
}

fn array(text: ArrayText, depth: &mut Depth<'_>, nodes: &[Node]) -> Step<Node> {
    let data = match (depth.some(text.bytes)?, depth.some(text.values)?) {
        (None, None) => ArrayData::Missing,
        (Some(id), None) => match nodes.get(id.0 as usize) {
            Some(Node::Bytes(_) | Node::ByteArray(_) | Node::Text(_)) => ArrayData::Bytes(id),
            _ => return damaged("an array's elements are no bytes"),
        },
        (None, Some(id)) => ArrayData::Values(id),
        (Some(_), Some(_)) => return damaged("an array has its elements twice"),
    };
    let ArrayText { dtype, shape, fortran, scalar, .. } = text;
    Ok(Node::Array(Box::new(Array { dtype, shape, fortran, scalar, data })))
}

fn object(text: ObjectText, depth: &mut Depth<'_>) -> Step<Node> {
    Ok(Node::Object(Box::new(Object {
        arguments: depth.node(text.arguments)?,
        state: depth.some(text.state)?,
        items: depth.list(&text.items)?,
        entries: depth.pairs(&text.entries)?,
        global: text.global,
    })))
}

fn tensor(
    mut text: TensorText,
    depth: &mut Depth<'_>,
    nodes: &[Node],
    storages: &[Storage],
    defaults: &mut [Option<&Stored>],
) -> Step<Tensor> {
    if text.dtype.is_none() || text.shape.is_none() {
        let slot = text.storage.and_then(|number| defaults.get_mut(number as usize));
        let Some(stored) = slot.and_then(Option::take) else {
            return damaged("a tensor has no dtype or no shape");
        };
        text.dtype = text.dtype.or(Some(stored.info.dtype));
        text.shape = text.shape.or_else(|| Some(stored.info.shape.clone()));
    }
    let (Some(dtype), Some(shape)) = (text.dtype, text.shape.take()) else {
        return damaged("a tensor has no dtype or no shape");
    };
    let attributes = depth.some(text.attributes)?;
    let (requires_grad, parameter) = (text.requires_grad, text.parameter);
    let (conjugated, negated) = (text.conjugated, text.negated);
    let body = body(text, &shape, depth, nodes)?;
    let storage = match &body {
        Body::Strided { storage, .. } => storages.get(storage.0 as usize),
        _ => None,
    };
    let tensor = Tensor { dtype, shape, requires_grad, parameter, conjugated, negated, attributes, body };
    check_tensor(&tensor, storage).map_err(|message| fault(Code::TensorOutOfBounds, message))?;
    Ok(tensor)
}

fn body(text: TensorText, shape: &[u64], depth: &mut Depth<'_>, nodes: &[Node]) -> Step<Body> {
    let is_tensor = |id: &NodeId| matches!(nodes.get(id.0 as usize), Some(Node::Tensor(_)));
    Ok(match (text.storage, text.sparse, text.nested, text.converted) {
        (None, None, None, None) => Body::Meta,
        (Some(storage), None, None, None) => Body::Strided {
            storage: StorageId(storage),
            offset: text.offset,
            strides: text.strides.unwrap_or_else(|| row_major(shape)),
            quantizer: depth.some(text.quantizer)?,
        },
        (None, Some(sparse), None, None) => {
            let body = sparse_body(sparse, depth)?;
            match &body {
                Body::Sparse { parts, .. } if parts.iter().all(|(_, part)| is_tensor(part)) => body,
                _ => return damaged("a part of a sparse tensor is no tensor"),
            }
        }
        (None, None, Some(parts), None) => {
            let [buffer, sizes, strides, offsets] = parts;
            let parts = depth.list(&[buffer, sizes, strides, offsets])?;
            match parts.as_slice() {
                &[buffer, sizes, strides, offsets] if parts.iter().all(is_tensor) => {
                    Body::Nested { buffer, sizes, strides, offsets }
                }
                _ => return damaged("a part of a nested tensor is no tensor"),
            }
        }
        (None, None, None, Some(source)) => Body::Converted(depth.node(source)?),
        _ => return damaged("a tensor has two bodies"),
    })
}

fn sparse_body(text: SparseText, depth: &mut Depth<'_>) -> Step<Body> {
    let mut parts = Vec::with_capacity(text.parts.len());
    for (name, part) in text.parts {
        let Some(known) = PARTS.into_iter().find(|known| *known == name) else {
            return damaged(format_args!("a sparse tensor has a part {}", quoted(&name)));
        };
        parts.push((known, depth.node(part)?));
    }
    Ok(Body::Sparse { layout: text.layout, parts, coalesced: text.coalesced })
}

/// Reads the whole structure.
struct StructureSeed<'a, 'h>(&'a mut Builder<'h>);

impl<'de> DeserializeSeed<'de> for StructureSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StructureSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("version, storages and nodes, in this order")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let builder = self.0;
        expect_key(&mut map, "version")?;
        let version: u64 = map.next_value()?;
        if version != VERSION {
            let message = format!("the structure has the version {version}; upgrade ckpt to read it");
            let finding = Finding::incompatible(Code::VersionTooNew, Level::Load, message);
            return Err(builder.stop(Box::new(finding)));
        }
        expect_key(&mut map, "storages")?;
        map.next_value_seed(ListSeed { builder, add: Builder::storage })?;
        expect_key(&mut map, "nodes")?;
        map.next_value_seed(ListSeed { builder, add: Builder::value })?;
        match map.next_key::<Word<'de>>()? {
            None => Ok(()),
            Some(_) => Err(serde::de::Error::custom("a fourth field")),
        }
    }
}

/// Reads the next key, which must be this one.
fn expect_key<'de, A: MapAccess<'de>>(map: &mut A, key: &'static str) -> Result<(), A::Error> {
    match map.next_key::<Word<'de>>()? {
        Some(word) if word.0 == key => Ok(()),
        _ => Err(serde::de::Error::missing_field(key)),
    }
}

/// Reads a list, adding each item as it comes.
struct ListSeed<'a, 'h, T> {
    builder: &'a mut Builder<'h>,
    add: fn(&mut Builder<'h>, T) -> Step,
}

impl<'de, T: serde::Deserialize<'de>> DeserializeSeed<'de> for ListSeed<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for ListSeed<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            (self.add)(self.builder, item).map_err(|finding| self.builder.stop(finding))?;
        }
        Ok(())
    }
}
