use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::digest::Algorithm;
use crate::dtype::Dtype;
use crate::format::Proven;
use crate::format::head_digest;
use crate::format::safetensors::structure::{self, Contents};
use crate::format::safetensors::{Header, read_header};
use crate::record::{BLOCK_BYTES, Proof, block_ranges};
use crate::tensor::{
    Array, ArrayData, Body, Data, Map, MapKind, Node, Object, Storage, StorageId, Tensor, extent,
};

/// A source that has to be read, like a file.
struct Distant(Vec<u8>);

impl Source for Distant {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.0.read_at(buffer, offset)
    }
}

/// Writes an encoding into memory: piece by piece, then the head.
fn bytes_of(encoding: &SafetensorsEncoding<'_>, algorithm: Algorithm) -> Vec<u8> {
    let mut file = vec![0xaa; usize::try_from(encoding.len()).unwrap()];
    let mut digests = Vec::new();
    for piece in encoding.pieces() {
        let start = usize::try_from(piece.offset).unwrap();
        let end = start + usize::try_from(piece.source.len()).unwrap();
        // In parts of an odd length, as several threads might.
        for (at, part) in file[start..end].chunks_mut(1 << 20 | 1).enumerate() {
            piece.source.read_at(part, (at * (1 << 20 | 1)) as u64).unwrap();
        }
        let blocks = block_ranges(&[piece.offset..end as u64], BLOCK_BYTES).into_iter().map(|block| {
            algorithm
                .digest(&file[usize::try_from(block.start).unwrap()..usize::try_from(block.end).unwrap()])
        });
        digests.push(PieceDigest { blocks: blocks.collect(), crc32: None });
    }
    for (at, part) in encoding.finish(&digests).parts {
        let at = usize::try_from(at).unwrap();
        file[at..at + part.len()].copy_from_slice(&part);
    }
    file
}

fn file_of(state: &State<'_>) -> Vec<u8> {
    let options = EncodeOptions::default();
    bytes_of(&encode(state, &options).unwrap(), options.algorithm)
}

fn storage(bytes: u64, dtype: Dtype) -> Storage {
    Storage { key: "0".into(), dtype: Some(dtype), bytes, device: "cpu".into(), part_of: None }
}

fn view(dtype: Dtype, storage: u32, offset: u64, shape: &[u64], strides: &[u64]) -> Tensor {
    let body =
        Body::Strided { storage: StorageId(storage), offset, strides: strides.to_vec(), quantizer: None };
    Tensor {
        dtype,
        shape: shape.to_vec(),
        requires_grad: false,
        parameter: false,
        conjugated: false,
        negated: false,
        attributes: None,
        body,
    }
}

/// A flat dict of tensors; the storages' bytes count up.
fn state(tensors: Vec<(&str, Tensor)>, storages: Vec<Storage>) -> State<'static> {
    let mut nodes = Vec::new();
    let mut entries = Vec::new();
    for (name, tensor) in tensors {
        let at = u32::try_from(nodes.len()).unwrap();
        nodes.push(Node::Text(name.into()));
        nodes.push(Node::Tensor(Box::new(tensor)));
        entries.push((NodeId(at), NodeId(at + 1)));
    }
    nodes.push(Node::Map(MapKind::Dict, Some(Box::new(Map { entries, attributes: None }))));
    whole(nodes, storages)
}

fn whole(nodes: Vec<Node>, storages: Vec<Storage>) -> State<'static> {
    let data = storages.iter().enumerate().map(|(number, storage)| {
        let bytes = (0..storage.bytes).map(|at| u8::try_from((at + number as u64 * 7) % 251).unwrap());
        Data::from(bytes.collect::<Vec<_>>())
    });
    let data = data.collect();
    let root = NodeId(u32::try_from(nodes.len() - 1).unwrap());
    State::from_parts(Tree::new(nodes, storages, root), data)
}

fn names(header: &Header) -> Vec<&str> {
    header.tensors.iter().map(|tensor| tensor.info.name.as_str()).collect()
}

/// The elements of a strided tensor, taken one by one.
fn elements(tensor: &Tensor, bytes: &[u8]) -> Vec<u8> {
    let Body::Strided { offset, strides, .. } = &tensor.body else { return Vec::new() };
    let size = tensor.dtype.bits() / 8;
    if size == 0 || tensor.dtype.elements_per_byte() > 1 {
        return bytes.to_vec(); // never gathered
    }
    let mut out = Vec::new();
    for position in 0..TensorInfo::count(&tensor.shape).unwrap() {
        let (mut rest, mut at) = (position, *offset);
        for (length, stride) in tensor.shape.iter().zip(strides).rev() {
            at += rest % length * stride;
            rest /= length;
        }
        let start = usize::try_from(at * size).unwrap();
        out.extend_from_slice(&bytes[start..start + usize::try_from(size).unwrap()]);
    }
    out
}

/// Returns whether a node is a storage, or a view of it.
fn uses(node: &Node, storage: StorageId) -> bool {
    match node {
        Node::Storage(id) => *id == storage,
        Node::Tensor(tensor) => matches!(tensor.body, Body::Strided { storage: id, .. } if id == storage),
        _ => false,
    }
}

/// Holds what was read to what was written: the same values, and the same elements in each tensor.
fn assert_same(state: &State<'_>, file: &[u8], contents: &Contents) {
    let written = order::order(state.tree()).unwrap();
    let read = order::order(&contents.tree).unwrap();
    assert_eq!(written.nodes.len(), read.nodes.len());
    assert_eq!(written.storages.len(), read.storages.len());
    let bytes_of = |origin: StorageId| {
        let data = state.data(origin).unwrap();
        let mut bytes = vec![0; usize::try_from(data.len()).unwrap()];
        data.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let range_of = |origin: StorageId| {
        let range = contents.ranges[origin.0 as usize].clone().unwrap_or_default();
        &file[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    };
    for (one, other) in written.nodes.iter().zip(&read.nodes) {
        match (one, other) {
            (Node::Float(one), Node::Float(other)) => assert_eq!(one.to_bits(), other.to_bits()),
            (Node::Complex(re, im), Node::Complex(a, b)) => {
                assert_eq!((re.to_bits(), im.to_bits()), (a.to_bits(), b.to_bits()));
            }
            (Node::Tensor(one), Node::Tensor(other)) => {
                let Body::Strided { storage: id, quantizer, .. } = &one.body else {
                    assert_eq!(one, other);
                    continue;
                };
                let number = id.0 as usize;
                let (from, to) = (&written.storages[number], &read.storages[number]);
                assert_eq!((&from.dtype, &from.device), (&to.dtype, &to.device));
                let users = written.nodes.iter().filter(|node| uses(node, *id)).count();
                if users > 1 {
                    assert_eq!((one, from.bytes), (other, to.bytes), "a view of shared bytes stays one");
                }
                if !range_of(read.origins[number]).is_empty() {
                    let here = bytes_of(written.origins[number]);
                    assert_eq!(elements(one, &here), elements(other, range_of(read.origins[number])));
                }
                // Beside the place in the storage, which may be gathered, all is the same.
                let mut moved = (**other).clone();
                assert!(matches!(&moved.body, Body::Strided { quantizer: q, .. } if q == quantizer));
                moved.body = one.body.clone();
                assert_eq!(**one, moved);
            }
            _ => assert_eq!(one, other),
        }
    }
}

/// Writes a state, reads it back, and holds one against the other; also what must hold of every file.
fn round_trip(state: &State<'_>) -> (Vec<u8>, Header) {
    let file = file_of(state);
    let header = read_header(&file).unwrap();
    assert_eq!(header.data_start % 4096, 0);
    assert!(header.notes.is_empty());
    for tensor in &header.tensors {
        let size = (tensor.info.dtype.bits() / 8).max(1);
        assert_eq!(tensor.start % size, 0, "{}", tensor.info.name);
    }
    safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_proven(&file, &header);
    assert_same(state, &file, &structure::read(&header).unwrap());
    assert_eq!(file, file_of(state), "the same state makes the same file");
    (file, header)
}

fn assert_proven(file: &[u8], header: &Header) {
    const BEGINNING: &[u8] = b"{\"__metadata__\":{\"ckpt.proof\":\"";
    assert_eq!(&file[8..8 + BEGINNING.len()], BEGINNING);
    let proof = Proof::parse(&header.metadata["ckpt.proof"]).unwrap();
    let algorithm = proof.root.algorithm();
    let digits = Proof::root_range(algorithm);
    let line = 8 + BEGINNING.len();
    let head = &file[..usize::try_from(header.data_start).unwrap()];
    let head = head_digest(algorithm, head, &[(line + digits.start..line + digits.end, b'0')]);
    let mut data: Vec<_> = header.tensors.iter().map(|tensor| tensor.start..tensor.end).collect();
    data.sort_by_key(|range| (range.start, range.end));
    let proven = Proven { proof, head, data };
    assert!(proven.is_head_intact());
    for (block, digest) in proven.blocks().into_iter().zip(&proven.proof.blocks) {
        let bytes = &file[usize::try_from(block.start).unwrap()..usize::try_from(block.end).unwrap()];
        assert_eq!(algorithm.digest(bytes), *digest);
    }
}

#[test]
fn a_flat_dict_in_order_needs_no_structure() {
    let tensors = vec![
        ("b", view(Dtype::F64, 0, 0, &[2], &[1])),
        ("a", view(Dtype::F32, 1, 0, &[2, 3], &[3, 1])),
        ("c", view(Dtype::F32, 2, 0, &[], &[])),
        ("d", view(Dtype::Bool, 3, 0, &[0, 4], &[4, 1])),
    ];
    let storages = vec![
        storage(16, Dtype::F64),
        storage(24, Dtype::F32),
        storage(4, Dtype::F32),
        storage(0, Dtype::Bool),
    ];
    let (_, header) = round_trip(&state(tensors.clone(), storages.clone()));
    assert_eq!(names(&header), ["b", "a", "c", "d"]);
    assert_eq!(header.metadata["format"], "pt");
    assert!(!header.metadata.contains_key("ckpt.structure"));
    // In another order, or with a property, it does.
    let reordered: Vec<_> = tensors.iter().cloned().rev().collect();
    let (_, header) = round_trip(&state(reordered, storages.clone()));
    assert_eq!(names(&header), ["b", "a", "c", "d"]);
    assert!(header.metadata.contains_key("ckpt.structure"));
    let mut with_grad = tensors;
    with_grad[0].1.requires_grad = true;
    let (_, header) = round_trip(&state(with_grad, storages));
    assert!(header.metadata.contains_key("ckpt.structure"));
}

#[test]
fn nothing_at_all_is_a_file_too() {
    let (file, header) = round_trip(&whole(vec![Node::Map(MapKind::Dict, None)], Vec::new()));
    assert_eq!(file.len(), 4096);
    assert!(header.tensors.is_empty() && !header.metadata.contains_key("ckpt.structure"));
    round_trip(&whole(vec![Node::None], Vec::new()));
    let (_, header) = round_trip(&whole(
        vec![Node::Tensor(Box::new(view(Dtype::F32, 0, 0, &[1], &[1])))],
        vec![storage(4, Dtype::F32)],
    ));
    assert_eq!(names(&header), ["tensor"]);
}

#[test]
fn every_dtype_is_kept() {
    for &dtype in Dtype::ALL {
        let bytes = dtype.tensor_bytes(4).unwrap();
        let tensor = view(dtype, 0, 0, &[2, 2], &[2, 1]);
        let (_, header) = round_trip(&state(vec![("t", tensor)], vec![storage(bytes, dtype)]));
        assert_eq!(names(&header), ["t"]);
        assert_eq!(header.tensors[0].info.bytes, bytes);
        assert_eq!(
            header.metadata.contains_key("ckpt.structure"),
            dtype.safetensors_name().is_none(),
            "{dtype}"
        );
    }
}

#[test]
fn names_that_collide_get_a_suffix() {
    let nodes = vec![
        Node::Text("a.b".into()),
        Node::Tensor(Box::new(view(Dtype::U8, 0, 0, &[1], &[1]))),
        Node::Text("a".into()),
        Node::Text("b".into()),
        Node::Tensor(Box::new(view(Dtype::U8, 1, 0, &[1], &[1]))),
        Node::Map(
            MapKind::Dict,
            Some(Box::new(Map { entries: vec![(NodeId(3), NodeId(4))], attributes: None })),
        ),
        Node::Text("a.b~2".into()),
        Node::Tensor(Box::new(view(Dtype::U8, 2, 0, &[1], &[1]))),
        Node::Text("__metadata__".into()),
        Node::Tensor(Box::new(view(Dtype::U8, 3, 0, &[1], &[1]))),
        Node::Map(
            MapKind::Dict,
            Some(Box::new(Map {
                entries: vec![
                    (NodeId(0), NodeId(1)),
                    (NodeId(2), NodeId(5)),
                    (NodeId(6), NodeId(7)),
                    (NodeId(8), NodeId(9)),
                ],
                attributes: None,
            })),
        ),
    ];
    let (_, header) = round_trip(&whole(nodes, vec![storage(1, Dtype::U8); 4]));
    assert_eq!(names(&header), ["__metadata__~2", "a.b", "a.b~2", "a.b~2~2"]);
}

#[test]
fn shared_bytes_are_stored_once() {
    // One covers all, under its name; the other is a view of it.
    let tensors =
        vec![("tail", view(Dtype::F32, 0, 2, &[2], &[1])), ("all", view(Dtype::F32, 0, 0, &[2, 2], &[2, 1]))];
    let (file, header) = round_trip(&state(tensors, vec![storage(16, Dtype::F32)]));
    assert_eq!(names(&header), ["all"]);
    assert_eq!(file.len() as u64, header.data_start + 16);
    // None covers all.
    let tensors =
        vec![("head", view(Dtype::F32, 0, 0, &[2], &[1])), ("tail", view(Dtype::F32, 0, 2, &[2], &[1]))];
    let (_, header) = round_trip(&state(tensors, vec![storage(16, Dtype::F32)]));
    assert_eq!(names(&header), ["ckpt.storage.0"]);
    assert_eq!(header.tensors[0].info.dtype, Dtype::U8);
}

#[test]
fn what_nobody_sees_is_left_out() {
    let cases = [
        (view(Dtype::F32, 0, 5, &[2, 3], &[10, 1]), 24), // columns of a matrix
        (view(Dtype::F32, 0, 0, &[10, 10], &[1, 10]), 400), // transposed
        (view(Dtype::F32, 0, 7, &[], &[]), 4),
        (view(Dtype::F32, 0, 3, &[0, 2], &[2, 1]), 0),
        (view(Dtype::F32, 0, 0, &[2, 2, 2], &[50, 3, 20]), 32),
        (view(Dtype::F32, 0, 99, &[1, 1], &[9, 9]), 4),
    ];
    for (tensor, bytes) in cases {
        let given = state(vec![("t", tensor.clone())], vec![storage(400, Dtype::F32)]);
        let (file, header) = round_trip(&given);
        assert_eq!(names(&header), ["t"]);
        assert_eq!(file.len() as u64, header.data_start + bytes);
        // The same from bytes that have to be read.
        let mut all = vec![0; 400];
        given.data(StorageId(0)).unwrap().read_at(&mut all, 0).unwrap();
        let data = vec![Data::new(Arc::new(Distant(all)))];
        assert_eq!(file_of(&State::from_parts(given.tree().clone(), data)), file);
    }
}

/// A tensor of 2^51 elements in one of its storage: it stays a view.
#[test]
fn an_expanded_tensor_is_not_spread_out() {
    let tensor = view(Dtype::F32, 0, 0, &[1 << 31, 1 << 20], &[0, 0]);
    let given = state(vec![("t", tensor.clone())], vec![storage(4, Dtype::F32)]);
    let header = read_header(&file_of(&given)).unwrap();
    assert_eq!(names(&header), ["ckpt.storage.0"]);
    let tree = structure::read(&header).unwrap().tree;
    assert_eq!(tree.node(tree.get(tree.root(), "t").unwrap()), &Node::Tensor(Box::new(tensor)));
}

#[test]
fn large_data_is_cut_where_windows_meet() {
    let tensors = vec![
        ("a", view(Dtype::F32, 0, 0, &[1 << 20], &[1])),
        ("b", view(Dtype::F32, 1, 0, &[(1 << 20) + 1], &[1])),
    ];
    let storages = vec![storage(4 << 20, Dtype::F32), storage((4 << 20) + 4, Dtype::F32)];
    for algorithm in Algorithm::ALL {
        let given = state(tensors.clone(), storages.clone());
        let options = EncodeOptions { algorithm, ..EncodeOptions::default() };
        let file = bytes_of(&encode(&given, &options).unwrap(), algorithm);
        let header = read_header(&file).unwrap();
        assert_proven(&file, &header);
        assert_eq!(Proof::parse(&header.metadata["ckpt.proof"]).unwrap().blocks.len(), 4);
    }
}

#[test]
fn the_callers_metadata_is_kept() {
    let given = state(vec![("w", view(Dtype::U8, 0, 0, &[1], &[1]))], vec![storage(1, Dtype::U8)]);
    let mut options = EncodeOptions::default();
    options.metadata.insert("zeta".into(), "\"ä\"\n".into());
    options.metadata.insert("format".into(), "np".into());
    let header = read_header(&bytes_of(&encode(&given, &options).unwrap(), options.algorithm)).unwrap();
    assert_eq!(header.metadata["zeta"], "\"ä\"\n");
    assert_eq!(header.metadata["format"], "np");
    options.metadata.insert("ckpt.mine".into(), String::new());
    assert!(encode(&given, &options).is_err());
}

#[test]
fn a_header_that_no_reader_takes_is_refused() {
    let given = whole(vec![Node::Bytes(vec![0; 80_000_000].into())], Vec::new());
    let error = encode(&given, &EncodeOptions::default()).unwrap_err().to_string();
    assert!(error.contains("readers stop at 100000000"), "{error}");
}

#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let outside = state(vec![("t", view(Dtype::F32, 0, 1, &[1], &[1]))], vec![storage(4, Dtype::F32)]);
    let nowhere = state(vec![("t", view(Dtype::F32, 1, 0, &[1], &[1]))], vec![storage(4, Dtype::F32)]);
    let short = State::from_parts(outside.tree().clone(), vec![Data::from(vec![0; 3])]);
    let endless = whole(vec![Node::List(vec![NodeId(0)])], Vec::new());
    let dangling = whole(vec![Node::List(vec![NodeId(9)])], Vec::new());
    let mut turning = storage(4, Dtype::F32);
    turning.part_of = Some((StorageId(0), 0));
    let turning = state(vec![("t", view(Dtype::F32, 0, 0, &[1], &[1]))], vec![turning]);
    for given in [outside, nowhere, short, endless, dangling, turning] {
        let error = encode(&given, &EncodeOptions::default()).unwrap_err();
        assert!(error.to_string().contains("can't be saved"), "{error}");
    }
}

#[test]
fn ten_thousand_tensors_are_one_file() {
    let keys: Vec<String> = (0..10_000).map(|at| format!("layer.{at:05}.weight")).collect();
    let tensors =
        (0..10_000_u32).map(|at| (keys[at as usize].as_str(), view(Dtype::F32, at, 0, &[1], &[1]))).collect();
    let (_, header) = round_trip(&state(tensors, vec![storage(4, Dtype::F32); 10_000]));
    assert_eq!(header.tensors.len(), 10_000);
    assert!(!header.metadata.contains_key("ckpt.structure"));
}

/// A tree out of a list of choices: each value refers to values before it.
struct Grower<'t> {
    tape: std::slice::Iter<'t, u16>,
    nodes: Vec<Node>,
    storages: Vec<Storage>,
}

impl Grower<'_> {
    fn pick(&mut self, below: u64) -> u64 {
        u64::from(*self.tape.next().unwrap_or(&0)) % below.max(1)
    }

    fn earlier(&mut self) -> NodeId {
        let count = self.nodes.len() as u64;
        NodeId(u32::try_from(self.pick(count)).unwrap())
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(u32::try_from(self.nodes.len() - 1).unwrap())
    }

    fn items(&mut self) -> Vec<NodeId> {
        (0..self.pick(4)).map(|_| self.earlier()).collect()
    }

    fn entries(&mut self) -> Vec<(NodeId, NodeId)> {
        (0..self.pick(4))
            .map(|at| {
                let at = i64::try_from(at).unwrap();
                let key = match self.pick(6) {
                    0 => Node::Int(at),
                    1 => Node::Float(f64::from(u8::try_from(at).unwrap()) + 0.5),
                    2 => Node::Tuple(vec![self.earlier(), NodeId(0)]),
                    3 => Node::Bytes(vec![u8::try_from(at).unwrap()].into()),
                    _ => Node::Text(["a", "b", "a.b", "__metadata__"][usize::try_from(at).unwrap()].into()),
                };
                (self.add(key), self.earlier())
            })
            .collect()
    }

    fn tensor(&mut self) -> Tensor {
        let dtypes = [Dtype::F32, Dtype::C128, Dtype::U8, Dtype::QI8, Dtype::Bf16, Dtype::C64];
        let dtype = dtypes[usize::try_from(self.pick(6)).unwrap()];
        let shape: Vec<u64> = (0..self.pick(4)).map(|_| self.pick(4)).collect();
        let strides: Vec<u64> = match self.pick(3) {
            0 => shape.iter().map(|_| self.pick(5)).collect(),
            _ => structure::row_major(&shape),
        };
        let offset = self.pick(3) / 2;
        let bytes = extent(offset, &shape, &strides).unwrap() * dtype.bits() / 8;
        let fitting = self.storages.iter().position(|storage| storage.bytes >= bytes);
        let number = match fitting {
            Some(number) if self.pick(2) == 0 => number,
            _ => {
                let extra = self.pick(3) * 16;
                let mut storage = storage(bytes + extra, dtype);
                if self.pick(4) == 1 {
                    (storage.dtype, storage.device) = (None, "cuda:1".into());
                }
                self.storages.push(storage);
                self.storages.len() - 1
            }
        };
        let mut tensor = view(dtype, u32::try_from(number).unwrap(), offset, &shape, &strides);
        tensor.requires_grad = dtype.is_differentiable() && self.pick(3) == 1;
        tensor.parameter = self.pick(3) == 1;
        tensor.conjugated = dtype == Dtype::C64 && self.pick(2) == 1;
        tensor.negated = self.pick(5) == 1;
        if self.pick(5) == 1 {
            tensor.attributes = Some(self.earlier());
        }
        tensor
    }

    fn grow(&mut self) {
        let node = match self.pick(28) {
            0 => Node::Bool(self.pick(2) == 1),
            1 => Node::Int(i64::MIN + i64::try_from(self.pick(9)).unwrap()),
            2 => Node::BigInt(vec![1; 9].into()),
            3 => Node::Float(f64::from_bits(0x7ff0_0000_0000_0000 + self.pick(4))),
            4 => Node::Complex(-0.0, f64::NEG_INFINITY),
            5 => Node::Text("\u{0}\"ü\\".into()),
            6 => Node::SurrogateText([0xed, 0xa0, 0x80].into()),
            7 => Node::Bytes(vec![0xff; usize::try_from(self.pick(5)).unwrap()].into()),
            8 => Node::ByteArray([1, 2].into()),
            9 => Node::List(self.items()),
            10 => Node::Tuple(self.items()),
            11 => Node::Set(self.items()),
            12 => Node::FrozenSet(self.items()),
            13..=15 => {
                let kind = [MapKind::Dict, MapKind::OrderedDict, MapKind::Counter];
                let kind = kind[usize::try_from(self.pick(3)).unwrap()];
                let entries = self.entries();
                let attributes = (self.pick(4) == 1).then(|| self.earlier());
                let is_empty = entries.is_empty() && attributes.is_none();
                Node::Map(kind, (!is_empty).then(|| Box::new(Map { entries, attributes })))
            }
            16 => Node::Size(vec![-1, 5]),
            17 => Node::Device("cuda:0".into()),
            18 => Node::Dtype(Dtype::Bf16),
            19 => Node::Layout("strided".into()),
            20 => Node::QScheme("per_tensor_affine".into()),
            21 => {
                let data = self.add(Node::Bytes([0; 8].into()));
                let data = if self.pick(2) == 0 { ArrayData::Bytes(data) } else { ArrayData::Values(data) };
                let (dtype, shape) = ("<f8".into(), vec![1]);
                Node::Array(Box::new(Array { dtype, shape, fortran: true, scalar: false, data }))
            }
            22 => Node::ArrayDtype("<f8".into()),
            23 => Node::Global("m.C".into()),
            24 => Node::Object(Box::new(Object {
                global: "m.C".into(),
                arguments: self.earlier(),
                state: (self.pick(2) == 1).then(|| self.earlier()),
                items: self.items(),
                entries: self.entries(),
            })),
            25 if !self.storages.is_empty() => {
                let count = self.storages.len() as u64;
                Node::Storage(StorageId(u32::try_from(self.pick(count)).unwrap()))
            }
            26 => {
                let (indices, values) = (self.tensor(), self.tensor());
                let indices = self.add(Node::Tensor(Box::new(indices)));
                let values = self.add(Node::Tensor(Box::new(values)));
                let mut tensor = self.tensor();
                tensor.body = match self.pick(4) {
                    0 => Body::Meta,
                    1 => Body::Converted(values),
                    2 => Body::Nested { buffer: values, sizes: indices, strides: indices, offsets: indices },
                    _ => Body::Sparse {
                        layout: "sparse_coo".into(),
                        parts: vec![("indices", indices), ("values", values)],
                        coalesced: Some(true),
                    },
                };
                Node::Tensor(Box::new(tensor))
            }
            _ => Node::Tensor(Box::new(self.tensor())),
        };
        self.add(node);
    }
}

/// Makes a state whose root holds every value that was grown.
fn grown(tape: &[u16], count: usize) -> State<'static> {
    let mut grower = Grower { tape: tape.iter(), nodes: vec![Node::None], storages: Vec::new() };
    for _ in 0..count {
        grower.grow();
    }
    let all = (0..grower.nodes.len()).map(|at| NodeId(u32::try_from(at).unwrap())).collect();
    grower.nodes.push(Node::List(all));
    whole(grower.nodes, grower.storages)
}

proptest! {
    #[test]
    fn any_state_is_read_back(
        tape in proptest::collection::vec(any::<u16>(), 0..300),
        count in 0_usize..25,
    ) {
        round_trip(&grown(&tape, count));
    }
}

#[test]
fn a_part_of_a_storage_lies_inside_it() {
    let mut part = storage(8, Dtype::F32);
    part.part_of = Some((StorageId(1), 4));
    let tensors =
        vec![("part", view(Dtype::F32, 0, 0, &[2], &[1])), ("all", view(Dtype::F32, 1, 0, &[4], &[1]))];
    let tree = state(tensors, vec![part, storage(16, Dtype::F32)]).tree().clone();
    let all: Vec<u8> = (0..16).collect();
    let data = vec![Data::from(all[4..12].to_vec()), Data::from(all)];
    let (_, header) = round_trip(&State::from_parts(tree, data));
    assert_eq!(names(&header), ["all"]);
    let contents = structure::read(&header).unwrap();
    let start = header.data_start;
    assert_eq!(contents.ranges, [Some(start..start + 16), Some(start + 4..start + 12)]);
}

#[test]
fn a_tensor_on_the_meta_device_has_no_bytes() {
    let mut meta = storage(1 << 40, Dtype::F32);
    meta.device = "meta".into();
    let shape = state(vec![("t", view(Dtype::F32, 0, 0, &[1 << 38], &[1]))], vec![storage(0, Dtype::F32)]);
    let ids = (0..u32::try_from(shape.tree().len()).unwrap()).map(NodeId);
    let nodes = ids.map(|id| shape.tree().node(id).clone()).collect();
    let tree = Tree::new(nodes, vec![meta.clone()], shape.tree().root());
    let given = State::from_parts(tree, vec![Data::from(Vec::new())]);
    let header = read_header(&file_of(&given)).unwrap();
    assert!(header.tensors.is_empty());
    let contents = structure::read(&header).unwrap();
    assert_eq!(contents.ranges, [None]);
    assert_eq!(contents.tree.storages(), [Storage { key: String::new(), ..meta }]);
}
