use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::Dtype;
use crate::digest::{Algorithm, Crc32};
use crate::format::torch::archive::TorchArchive;
use crate::format::torch::{Checkpoint, ReadOptions};
use crate::format::{Encoding, WRITER, head_digest};
use crate::io::write::PieceDigest;
use crate::record::{BLOCK_BYTES, Position, Proof, block_ranges};
use crate::tensor::{Body, Data, Map, MapKind, Node, NodeId, Source, Storage, StorageId, Tensor, Tree};

/// Writes an encoding into memory, piece by piece and then the head, and checks that all bytes are there.
pub(crate) fn write(encoding: &dyn Encoding, algorithm: Algorithm) -> (Vec<u8>, Proof) {
    let place = |at: u64| usize::try_from(at).unwrap();
    let mut file: Vec<Option<u8>> = vec![None; place(encoding.len())];
    let mut put = |at: u64, bytes: &[u8]| {
        for (slot, byte) in file[place(at)..place(at) + bytes.len()].iter_mut().zip(bytes) {
            assert_eq!(slot.replace(*byte), None, "a byte is written twice");
        }
    };
    let mut digests = Vec::new();
    for piece in encoding.pieces() {
        let mut bytes = vec![0; place(piece.source.len())];
        piece.source.read_at(&mut bytes, 0).unwrap();
        put(piece.offset, &bytes);
        let range = piece.offset..piece.offset + piece.source.len();
        let blocks = if piece.is_data { block_ranges(&[range], BLOCK_BYTES) } else { Vec::new() };
        let part = |block: &std::ops::Range<u64>| {
            &bytes[place(block.start - piece.offset)..place(block.end - piece.offset)]
        };
        let blocks = blocks.iter().map(|block| algorithm.digest(part(block))).collect();
        digests.push(PieceDigest { blocks, crc32: encoding.needs_crc32().then(|| Crc32::of(&bytes)) });
    }
    let head = encoding.finish(&digests);
    for (at, bytes) in &head.parts {
        put(*at, bytes);
    }
    (file.into_iter().map(|byte| byte.expect("no gap is left")).collect(), head.proof)
}

fn state(nodes: Vec<Node>, storages: Vec<(Storage, Vec<u8>)>) -> State<'static> {
    let root = NodeId(u32::try_from(nodes.len() - 1).unwrap());
    let (storages, data): (_, Vec<_>) =
        storages.into_iter().map(|(storage, data)| (storage, data.into())).unzip();
    State::from_parts(Tree::new(nodes, storages, root), data)
}

fn storage(dtype: Option<Dtype>, bytes: Vec<u8>) -> (Storage, Vec<u8>) {
    let storage = Storage {
        key: "any".into(),
        dtype,
        bytes: bytes.len() as u64,
        device: "cuda:1".into(),
        part_of: None,
    };
    (storage, bytes)
}

fn tensor(dtype: Dtype, storage: u32, offset: u64, shape: &[u64]) -> Tensor {
    let strides = (0..shape.len()).map(|at| shape[at + 1..].iter().product()).collect();
    Tensor {
        dtype,
        shape: shape.to_vec(),
        requires_grad: false,
        parameter: false,
        conjugated: false,
        negated: false,
        attributes: None,
        body: Body::Strided { storage: StorageId(storage), offset, strides, quantizer: None },
    }
}

fn node(tensor: Tensor) -> Node {
    Node::Tensor(Box::new(tensor))
}

fn text(text: &str) -> Node {
    Node::Text(text.into())
}

fn map(kind: MapKind, entries: Vec<(u32, u32)>) -> Node {
    let entries = entries.into_iter().map(|(key, value)| (NodeId(key), NodeId(value))).collect();
    Node::Map(kind, Some(Box::new(Map { entries, attributes: None })))
}

fn full(state: &State<'_>) -> Vec<u8> {
    let options = EncodeOptions::default();
    let encoding = encode(state, &options, Flavour::Full).unwrap_or_else(|error| panic!("{error}"));
    write(&encoding, options.algorithm).0
}

#[track_caller]
fn refused(state: &State<'_>, flavour: Flavour, words: &[&str]) {
    let error = encode(state, &EncodeOptions::default(), flavour).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "'{word}' isn't in '{error}'");
    }
}

fn read(bytes: &[u8]) -> Checkpoint {
    let bytes = bytes.to_vec();
    let archive = TorchArchive::open(&bytes).unwrap_or_else(|flaw| panic!("{flaw}"));
    assert!(archive.is_tagged());
    let (checkpoint, findings) =
        archive.read(&bytes, &ReadOptions::default()).unwrap_or_else(|flaw| panic!("{flaw}"));
    assert_eq!((findings, &checkpoint.findings), (Vec::new(), &Vec::new()));
    checkpoint
}

/// Holds what was read against what was written: values bit for bit, order, and what is shared.
fn compare(state: &State<'_>, file: &[u8]) {
    let checkpoint = read(file);
    let mut pairs = Pairs::default();
    let mut todo = vec![(state.tree().root(), checkpoint.tree.root())];
    while let Some((ours, theirs)) = todo.pop() {
        let (a, b) = (state.tree().node(ours), checkpoint.tree.node(theirs));
        let small = matches!(a, Node::None | Node::Bool(_) | Node::Int(_));
        let name = matches!(a, Node::Dtype(_) | Node::QScheme(_) | Node::Global(_));
        let empty = matches!(a, Node::Tuple(items) if items.is_empty());
        if !small && !name && !empty && !pairs.nodes.meet(ours, theirs) {
            continue;
        }
        match (a, b) {
            (Node::Float(a), Node::Float(b)) => assert_eq!(a.to_bits(), b.to_bits()),
            (Node::Complex(a, c), Node::Complex(b, d)) => {
                assert_eq!((a.to_bits(), c.to_bits()), (b.to_bits(), d.to_bits()));
            }
            (Node::List(a), Node::List(b))
            | (Node::Tuple(a), Node::Tuple(b))
            | (Node::Set(a), Node::Set(b)) => {
                assert_eq!(a.len(), b.len());
                todo.extend(a.iter().copied().zip(b.iter().copied()));
            }
            (Node::Map(kind, a), Node::Map(other, b)) => {
                assert_eq!(kind, other);
                let empty = Map::default();
                let (a, b) = (a.as_deref().unwrap_or(&empty), b.as_deref().unwrap_or(&empty));
                assert_eq!(
                    (a.entries.len(), a.attributes.is_some()),
                    (b.entries.len(), b.attributes.is_some())
                );
                for (a, b) in a.entries.iter().zip(&b.entries) {
                    todo.extend([(a.0, b.0), (a.1, b.1)]);
                }
                todo.extend(a.attributes.zip(b.attributes));
            }
            (Node::Tensor(a), Node::Tensor(b)) => todo.extend(compare_tensors(&mut pairs, a, b)),
            (Node::Storage(a), Node::Storage(b)) => pairs.storages.push((*a, *b)),
            (a, b) => assert_eq!(a, b),
        }
    }
    for (ours, theirs) in pairs.storages {
        let data = state.data(ours).unwrap();
        let mut bytes = vec![0; usize::try_from(data.len()).unwrap()];
        data.read_at(&mut bytes, 0).unwrap();
        assert_eq!(checkpoint.read_storage(&file.to_vec(), theirs).unwrap(), bytes);
        assert_eq!(checkpoint.tree.storage(theirs).unwrap().device, "cpu");
        assert!(pairs.same_storage.insert(ours, theirs).is_none_or(|other| other == theirs));
    }
}

#[derive(Default)]
struct Pairs {
    nodes: Bijection,
    storages: Vec<(StorageId, StorageId)>,
    same_storage: HashMap<StorageId, StorageId>,
}

#[derive(Default)]
struct Bijection(HashMap<NodeId, NodeId>, HashMap<NodeId, NodeId>);

impl Bijection {
    /// Notes a pair; false where it was there before.
    fn meet(&mut self, a: NodeId, b: NodeId) -> bool {
        let known = self.0.insert(a, b);
        assert!(known.is_none_or(|other| other == b), "what was one value is two");
        assert!(self.1.insert(b, a).is_none_or(|other| other == a), "what were two values is one");
        known.is_none()
    }
}

fn compare_tensors(pairs: &mut Pairs, a: &Tensor, b: &Tensor) -> Vec<(NodeId, NodeId)> {
    let flags =
        |t: &Tensor| (t.dtype, t.shape.clone(), [t.requires_grad, t.parameter, t.conjugated, t.negated]);
    assert_eq!(flags(a), flags(b));
    let mut todo: Vec<_> = a.attributes.into_iter().zip(b.attributes).collect();
    match (&a.body, &b.body) {
        (
            Body::Strided { storage: sa, offset: oa, strides: ta, quantizer: qa },
            Body::Strided { storage: sb, offset: ob, strides: tb, quantizer: qb },
        ) => {
            assert_eq!((oa, ta, qa.is_some()), (ob, tb, qb.is_some()));
            pairs.storages.push((*sa, *sb));
            todo.extend(qa.iter().copied().zip(qb.iter().copied()));
        }
        (
            Body::Sparse { layout, parts, coalesced },
            Body::Sparse { layout: other, parts: theirs, coalesced: same },
        ) => {
            assert_eq!((layout, coalesced), (other, same));
            todo.extend(parts.iter().zip(theirs).map(|(a, b)| (a.1, b.1)));
        }
        (Body::Meta, Body::Meta) => {}
        (a, b) => panic!("{a:?} became {b:?}"),
    }
    todo
}

/// A value of any kind, made of those before it.
#[derive(Clone, Debug)]
struct Recipe {
    kind: u8,
    picks: Vec<u32>,
    bits: u64,
    text: String,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    (0..26_u8, prop::collection::vec(any::<u32>(), 0..6), any::<u64>(), ".{0,12}")
        .prop_map(|(kind, picks, bits, text)| Recipe { kind, picks, bits, text })
}

const DTYPES: [Dtype; 6] = [Dtype::F32, Dtype::U16, Dtype::Bool, Dtype::C64, Dtype::F8E4m3fn, Dtype::I64];

/// Builds a state of a list of all values that were made.
fn build(recipes: &[Recipe]) -> State<'static> {
    let mut nodes = vec![Node::None];
    let storages: Vec<_> = DTYPES
        .iter()
        .enumerate()
        .map(|(at, dtype)| {
            storage(Some(*dtype), (0..64_u8).map(|byte| byte ^ u8::try_from(at).unwrap()).collect())
        })
        .collect();
    for recipe in recipes {
        let made = make(recipe, &mut nodes);
        nodes.push(made);
    }
    let all = (0..u32::try_from(nodes.len()).unwrap()).map(NodeId).collect();
    nodes.push(Node::List(all));
    state(nodes, storages)
}

/// Makes keys that Python takes for different ones.
fn keys(count: usize, seed: u64, nodes: &mut Vec<Node>) -> Vec<NodeId> {
    let mut key = |at: usize| {
        let number = Node::Int(i64::try_from(seed >> 40).unwrap() + i64::try_from(at).unwrap() + 2);
        let node = match (seed >> at) % 7 {
            0 => number,
            1 => text(&format!("k{at}")),
            2 => Node::Bytes(vec![at.try_into().unwrap(), 0xff].into()),
            3 => Node::Float(f64::NAN),
            4 => Node::Float(0.5 + f64::from(u32::try_from(at).unwrap())),
            5 => Node::SurrogateText([0xed, 0xa0, 0x80, at.try_into().unwrap()].into()),
            _ => {
                nodes.push(number);
                let part = NodeId(u32::try_from(nodes.len() - 1).unwrap());
                Node::Tuple(vec![part, part])
            }
        };
        nodes.push(node);
        NodeId(u32::try_from(nodes.len() - 1).unwrap())
    };
    (0..count).map(&mut key).collect()
}

fn make(recipe: &Recipe, nodes: &mut Vec<Node>) -> Node {
    let count = u32::try_from(nodes.len()).unwrap();
    let picks: Vec<_> = recipe.picks.iter().map(|pick| NodeId(pick % count)).collect();
    let bits = recipe.bits;
    let bytes = bits.to_le_bytes();
    let entries = |nodes: &mut Vec<Node>| {
        let entries: Vec<_> = keys(picks.len(), bits, nodes).into_iter().zip(picks.iter().copied()).collect();
        (!entries.is_empty()).then(|| Box::new(Map { entries, attributes: None }))
    };
    match recipe.kind {
        0 => Node::Bool(bits.is_multiple_of(2)),
        1 => Node::Int(i64::from_le_bytes(bytes) >> (bits % 64)),
        2 => Node::BigInt([&bytes[..], &[1; 3]].concat().into()),
        3 => Node::Float(f64::from_bits(bits)),
        4 => Node::Complex(f64::from_bits(bits), f64::from_bits(!bits)),
        5 => text(&recipe.text),
        6 => Node::SurrogateText([&b"\xed\xbf\xbf"[..], recipe.text.as_bytes()].concat().into()),
        7 => Node::Bytes(bytes[..usize::try_from(bits % 8).unwrap()].into()),
        8 => Node::ByteArray(bytes[..usize::try_from(bits % 8).unwrap()].into()),
        9 | 10 => Node::List(picks),
        11 | 12 => Node::Tuple(picks),
        13 => Node::Set(keys(recipe.picks.len(), bits, nodes)),
        14 | 15 => Node::Map(MapKind::Dict, entries(nodes)),
        16 => Node::Map(MapKind::Counter, entries(nodes)),
        17 => Node::Map(MapKind::OrderedDict, entries(nodes)),
        18 => {
            let mut map = entries(nodes).unwrap_or_default();
            nodes.push(Node::Map(MapKind::Dict, None));
            map.attributes = Some(NodeId(u32::try_from(nodes.len() - 1).unwrap()));
            Node::Map(MapKind::OrderedDict, Some(map))
        }
        19 => Node::Size(recipe.picks.iter().map(|&pick| i64::from(pick)).collect()),
        20 => [
            Node::Device("cuda:3".into()),
            Node::Layout("sparse_coo".into()),
            Node::QScheme("per_tensor_affine".into()),
        ][usize::try_from(bits % 3).unwrap()]
        .clone(),
        21 => Node::Dtype(DTYPES[usize::try_from(bits % 6).unwrap()]),
        22 => Node::Global("collections.OrderedDict".into()),
        _ => make_tensor(bits, nodes),
    }
}

/// Makes a view of one of the storages.
fn make_tensor(bits: u64, nodes: &mut Vec<Node>) -> Node {
    let dtype = DTYPES[usize::try_from(bits % 6).unwrap()];
    let elements = 64 / dtype.bytes_for(1).unwrap();
    let offset = (bits >> 8) % elements;
    let length = (bits >> 16) % (elements - offset + 1);
    let mut tensor = tensor(dtype, u32::try_from(bits % 6).unwrap(), offset, &[length]);
    tensor.parameter = bits >> 24 & 1 == 1;
    tensor.requires_grad = dtype.is_differentiable() && bits >> 25 & 1 == 1;
    tensor.conjugated = dtype == Dtype::C64 && bits >> 26 & 1 == 1;
    tensor.negated = bits >> 27 & 1 == 1;
    if (bits >> 28).is_multiple_of(4) {
        tensor.body = Body::Meta;
        (tensor.conjugated, tensor.negated) = (false, false);
    }
    if (bits >> 30).is_multiple_of(4) {
        nodes.push(text("note"));
        let key = u32::try_from(nodes.len() - 1).unwrap();
        nodes.push(map(MapKind::Dict, vec![(key, 0)]));
        tensor.attributes = Some(NodeId(key + 1));
    }
    node(tensor)
}

proptest! {
    #[test]
    fn any_state_is_read_back(recipes in prop::collection::vec(recipe(), 1..60)) {
        let state = build(&recipes);
        let file = full(&state);
        compare(&state, &file);
        prop_assert_eq!(&file, &full(&state), "the same state gives the same bytes");
    }
}

/// The proof, by its definition: over the file as it is, with nothing taken from the writer but the bytes.
fn check_proof(file: &[u8], options: &EncodeOptions) {
    let place = |at: u64| usize::try_from(at).unwrap();
    let archive = crate::format::zip::Archive::open(&file.to_vec()).unwrap();
    let entry = archive.entry("archive/ckpt/proof").unwrap();
    assert_eq!(archive.entries.last().unwrap().name, entry.name);
    let line = &file[place(entry.data.start)..place(entry.data.end)];
    let proof = Proof::parse(std::str::from_utf8(line).unwrap()).unwrap();
    assert_eq!((proof.writer.as_str(), &proof.position), (WRITER, &options.position));
    let data: Vec<_> =
        archive.entries.iter().filter(|entry| entry.name.starts_with("archive/data/")).collect();
    let ranges: Vec<_> = data.iter().map(|entry| entry.data.clone()).collect();
    let digest =
        |range: &std::ops::Range<u64>| options.algorithm.digest(&file[place(range.start)..place(range.end)]);
    let blocks: Vec<_> = block_ranges(&ranges, proof.block_bytes).iter().map(digest).collect();
    assert_eq!(blocks, proof.blocks);
    let mut head = Vec::new();
    let mut at = 0;
    for range in &ranges {
        head.extend_from_slice(&file[at..place(range.start)]);
        at = place(range.end);
    }
    let shift = at - head.len();
    head.extend_from_slice(&file[at..]);
    let root = Proof::root_range(options.algorithm);
    let start = place(entry.data.start) - shift;
    let local = place(entry.header) - shift + 14;
    let name = b"archive/ckpt/proof";
    let in_directory = head.len() - 22 - name.len() - 46 + 16;
    let blanks = [
        (local..local + 4, 0),
        (start + root.start..start + root.end, b'0'),
        (in_directory..in_directory + 4, 0),
    ];
    assert_eq!(head_digest(options.algorithm, &head, &blanks), proof.root);
    for entry in &archive.entries {
        let bytes = &file[place(entry.data.start)..place(entry.data.end)];
        assert_eq!(entry.crc32, Some(Crc32::of(bytes).value()), "{}", entry.name);
    }
}

#[test]
fn the_proof_covers_every_byte() {
    let sizes = [5_000_000, 3, 0, 32 << 10, (32 << 10) + 1, 4_200_000, 20_000, 30_000];
    let bytes = |size: usize| (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect::<Vec<u8>>();
    let storages: Vec<_> = sizes.iter().map(|&size| storage(Some(Dtype::U8), bytes(size))).collect();
    let mut nodes: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(at, &size)| node(tensor(Dtype::U8, u32::try_from(at).unwrap(), 0, &[size as u64])))
        .collect();
    nodes.push(Node::List((0..u32::try_from(sizes.len()).unwrap()).map(NodeId).collect()));
    let state = state(nodes, storages);
    for algorithm in Algorithm::ALL {
        let options = EncodeOptions {
            algorithm,
            position: Some(Position::Stage("merge all".into())),
            metadata: [("who \"me\"".to_owned(), "ü".to_owned())].into(),
        };
        let encoding = encode(&state, &options, Flavour::Full).unwrap();
        let (file, proof) = write(&encoding, algorithm);
        check_proof(&file, &options);
        compare(&state, &file);
        let archive = crate::format::zip::Archive::open(&file).unwrap();
        let data = archive.entry("archive/ckpt/proof").unwrap().data.clone();
        let line = &file[usize::try_from(data.start).unwrap()..usize::try_from(data.end).unwrap()];
        assert_eq!(line, proof.encode().as_bytes());
        let data = archive.entry("archive/ckpt/metadata").unwrap().data.clone();
        let metadata = &file[usize::try_from(data.start).unwrap()..usize::try_from(data.end).unwrap()];
        assert_eq!(metadata, "{\"who \\\"me\\\"\":\"ü\"}".as_bytes());
        assert_eq!(archive.entries[0].name, "archive/data.pkl");
        // Small records go out with their headers; only those of large ones wait.
        let large = sizes.iter().filter(|size| **size > 32 << 10).count();
        let waiting =
            encoding.slots.iter().filter(|slot| matches!(slot, encoding::Slot::Header { .. })).count();
        assert_eq!(waiting, large);
    }
}

#[test]
fn parts_of_storages_are_written_as_the_whole() {
    let whole = storage(Some(Dtype::F32), (0..40).collect());
    let part = Storage { bytes: 16, part_of: Some((StorageId(0), 8)), ..whole.0.clone() };
    let nodes = vec![
        node(tensor(Dtype::F32, 0, 0, &[10])),
        node(tensor(Dtype::F32, 1, 1, &[3])),
        Node::Tuple(vec![NodeId(0), NodeId(1)]),
    ];
    let view = state(nodes.clone(), vec![whole.clone(), (part.clone(), Vec::new())]);
    let checkpoint = read(&full(&view));
    assert_eq!(checkpoint.tree.storages().len(), 1);
    let Node::Tuple(items) = checkpoint.tree.node(checkpoint.tree.root()) else { panic!("no tuple") };
    let Node::Tensor(view) = checkpoint.tree.node(items[1]) else { panic!("no tensor") };
    assert!(matches!(view.body, Body::Strided { offset: 3, .. }));
    // Begins within an element, reaches past the end, is a part of itself.
    for (part_of, bytes, word) in [
        ((StorageId(0), 6), 16, "within an element"),
        ((StorageId(0), 32), 16, "past the end"),
        ((StorageId(1), 0), 16, "part of itself"),
    ] {
        let part = Storage { part_of: Some(part_of), bytes, ..part.clone() };
        let state = state(nodes.clone(), vec![whole.clone(), (part, Vec::new())]);
        refused(&state, Flavour::Full, &["'1'", word]);
    }
}

/// PyTorch gives a storage the class of its first use, so one class must do for all.
#[test]
fn tensors_of_several_types_share_untyped_bytes() {
    let nodes = vec![
        node(tensor(Dtype::F32, 0, 0, &[4])),
        node(tensor(Dtype::I32, 0, 0, &[4])),
        Node::Tuple(vec![NodeId(0), NodeId(1)]),
    ];
    let shared = state(nodes, vec![storage(Some(Dtype::F32), vec![1; 16])]);
    compare(&shared, &full(&shared));
    let alone = vec![
        node(tensor(Dtype::I32, 0, 0, &[4])),
        Node::Storage(StorageId(0)),
        Node::Tuple(vec![NodeId(0), NodeId(1)]),
    ];
    let alone = state(alone, vec![storage(Some(Dtype::F32), vec![1; 16])]);
    refused(&alone, Flavour::Full, &["'1'", "torch.Storage", "another type"]);
}

#[test]
fn what_pytorch_refuses_is_refused_by_its_path() {
    let inside = |value: Node| {
        let list = Node::List(vec![NodeId(1)]);
        let nodes = vec![text("a"), value, list, Node::List(vec![]), map(MapKind::Dict, vec![(0, 2)])];
        state(nodes, vec![storage(Some(Dtype::F32), vec![0; 8])])
    };
    let float = |change: fn(&mut Tensor)| {
        let mut tensor = tensor(Dtype::F32, 0, 0, &[2]);
        change(&mut tensor);
        node(tensor)
    };
    let cases = [
        (Node::FrozenSet(vec![]), "frozenset"),
        (Node::BigInt(vec![1; 256].into()), "256 bytes"),
        (Node::ArrayDtype("<f8".into()), "numpy.dtype"),
        (Node::Global("os.system".into()), "os.system"),
        (Node::Global("builtins.frozenset".into()), "list of names"),
        (Node::Dtype(Dtype::F4), "f4x2"),
        (Node::Device("toaster".into()), "device"),
        (Node::Layout("flat".into()), "layout"),
        (Node::QScheme("none".into()), "scheme"),
        (Node::SurrogateText(vec![0xff].into()), "no text"),
        (Node::Set(vec![NodeId(3)]), "can't be a key"),
        (Node::Storage(StorageId(9)), "missing"),
        (float(|tensor| tensor.shape = vec![3]), "past the end"),
        (float(|tensor| tensor.dtype = Dtype::F4), "f4x2"),
        (float(|tensor| tensor.conjugated = true), "conjugated"),
        (float(|tensor| tensor.attributes = Some(NodeId(0))), "attributes"),
        (float(|tensor| (tensor.dtype, tensor.requires_grad) = (Dtype::I32, true)), "gradients"),
        (float(|tensor| tensor.dtype = Dtype::QI32), "no scale"),
        (float(|tensor| (tensor.body, tensor.negated) = (Body::Meta, true)), "negated"),
        (float(|tensor| tensor.body = Body::Converted(NodeId(0))), "made of a value of type str"),
    ];
    for (value, word) in cases {
        refused(&inside(value), Flavour::Full, &["'a.0', of type", "can't be written", word]);
    }
    let attributes = Map { entries: vec![], attributes: Some(NodeId(0)) };
    refused(
        &inside(Node::Map(MapKind::Dict, Some(Box::new(attributes)))),
        Flavour::Full,
        &["'a.0'", "no attributes"],
    );
}

#[test]
fn keys_that_python_takes_for_one_are_refused() {
    let nodes = vec![Node::Int(1), Node::Bool(true), map(MapKind::Dict, vec![(0, 0), (1, 1)])];
    refused(&state(nodes, vec![]), Flavour::Full, &["equal for Python"]);
    let nodes = vec![text("k"), text("k"), map(MapKind::Dict, vec![(0, 0), (1, 1)])];
    refused(&state(nodes, vec![]), Flavour::Full, &["'k' is there twice"]);
    let nodes = vec![Node::List(vec![]), Node::Tuple(vec![NodeId(0)]), map(MapKind::Dict, vec![(1, 0)])];
    refused(&state(nodes, vec![]), Flavour::Full, &["can't be a key"]);
}

#[test]
fn a_value_in_itself_and_a_bottomless_one_are_refused() {
    refused(&state(vec![Node::List(vec![NodeId(0)])], vec![]), Flavour::Full, &["contains itself"]);
    // Through attributes, where the walk doesn't go.
    let mut looped = tensor(Dtype::F32, 0, 0, &[2]);
    looped.attributes = Some(NodeId(1));
    let nodes = vec![text("me"), map(MapKind::Dict, vec![(0, 2)]), node(looped)];
    refused(
        &state(nodes, vec![storage(None, vec![0; 8])]),
        Flavour::Full,
        &["contains itself", "inside of the root"],
    );
    let deep: Vec<_> =
        (0..2_000).map(|at: u32| Node::List(at.checked_sub(1).map(NodeId).into_iter().collect())).collect();
    refused(&state(deep, vec![]), Flavour::Full, &["nested more than"]);
}

#[test]
fn bytes_that_are_not_those_of_the_storage_are_refused() {
    let (mut says, bytes) = storage(Some(Dtype::U8), vec![0; 8]);
    says.bytes = 9;
    let nodes = vec![node(tensor(Dtype::U8, 0, 0, &[8]))];
    refused(&state(nodes.clone(), vec![(says.clone(), bytes)]), Flavour::Full, &["has 8 bytes", "says 9"]);
    let tree = Tree::new(nodes, vec![says], NodeId(0));
    refused(&State::from_parts(tree, vec![]), Flavour::Full, &["aren't in the state"]);
}

#[test]
fn metadata_of_the_project_s_own_is_refused() {
    let options =
        EncodeOptions { metadata: [("ckpt.x".to_owned(), String::new())].into(), ..EncodeOptions::default() };
    assert!(encode(&state(vec![Node::None], vec![]), &options, Flavour::Full).is_err());
}

#[test]
fn the_flat_flavour_is_a_plain_dict_of_tensors() {
    let flat = |key: Node, value: Node, kind| {
        state(vec![key, value, map(kind, vec![(0, 1)])], vec![storage(Some(Dtype::F32), vec![0; 8])])
    };
    let vector = || node(tensor(Dtype::F32, 0, 0, &[2]));
    let sound = flat(text("w"), vector(), MapKind::Dict);
    compare(
        &sound,
        &write(&encode(&sound, &EncodeOptions::default(), Flavour::Flat).unwrap(), Algorithm::default()).0,
    );
    refused(
        &flat(text("w"), vector(), MapKind::OrderedDict),
        Flavour::Flat,
        &["the root", "OrderedDict", "plain dict"],
    );
    refused(&flat(Node::Int(1), vector(), MapKind::Dict), Flavour::Flat, &["of type int", "no text"]);
    refused(&flat(text("w"), Node::Int(1), MapKind::Dict), Flavour::Flat, &["'w', of type int"]);
    refused(
        &flat(text("w"), node(tensor(Dtype::U16, 0, 0, &[2])), MapKind::Dict),
        Flavour::Flat,
        &["'w'", "type"],
    );
    let meta = Tensor { body: Body::Meta, ..tensor(Dtype::F32, 0, 0, &[2]) };
    refused(&flat(text("w"), node(meta), MapKind::Dict), Flavour::Flat, &["'w'", "strided"]);
}

/// A storage of 5 GiB that nobody reads.
struct Long(u64);

impl Source for Long {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> Result<(), Error> {
        Err(Error::usage("large storages aren't read beforehand"))
    }
}

/// The file as a reader sees it: what isn't head is zeros.
struct Sparse {
    parts: Vec<(u64, Vec<u8>)>,
    len: u64,
}

impl crate::io::ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        buffer.fill(0);
        for (at, bytes) in &self.parts {
            for (slot, place) in buffer.iter_mut().zip(offset..) {
                if let Some(byte) =
                    place.checked_sub(*at).and_then(|at| bytes.get(usize::try_from(at).unwrap()))
                {
                    *slot = *byte;
                }
            }
        }
        Ok(())
    }
}

#[test]
fn more_than_four_gibibytes_are_laid_out() {
    let long = 5 << 30;
    let (mut first, _) = storage(Some(Dtype::F32), Vec::new());
    first.bytes = long;
    let nodes = vec![
        node(tensor(Dtype::F32, 0, 0, &[long / 4])),
        node(tensor(Dtype::F32, 1, 0, &[2])),
        Node::Tuple(vec![NodeId(0), NodeId(1)]),
    ];
    let tree = Tree::new(nodes, vec![first, storage(Some(Dtype::F32), vec![3; 8]).0], NodeId(2));
    let state = State::from_parts(tree, vec![Data::new(Arc::new(Long(long))), vec![3; 8].into()]);
    let options = EncodeOptions::default();
    let encoding = encode(&state, &options, Flavour::Full).unwrap();
    let pieces = encoding.pieces();
    let mut parts = Vec::new();
    let mut digests = Vec::new();
    for piece in &pieces {
        let blocks = block_ranges(&[piece.offset..piece.offset + piece.source.len()], BLOCK_BYTES).len();
        let blocks = if piece.is_data { vec![options.algorithm.digest(b"?"); blocks] } else { Vec::new() };
        digests.push(PieceDigest { blocks, crc32: Some(Crc32::of(b"5 GiB")) });
        if let Some(bytes) = piece.source.bytes().unwrap() {
            parts.push((piece.offset, bytes.to_vec()));
        }
    }
    let head = encoding.finish(&digests);
    assert_eq!(head.proof.blocks.len(), 1281 + 1);
    parts.extend(head.parts);
    let file = Sparse { parts, len: encoding.len() };
    let archive = TorchArchive::open(&file).unwrap_or_else(|flaw| panic!("{flaw}"));
    let (checkpoint, findings) = archive.read(&file, &ReadOptions::default()).unwrap();
    assert_eq!(findings, []);
    assert_eq!(checkpoint.tensors().unwrap()[0].bytes, long);
    let entry = archive.archive.entry("archive/data/0").unwrap();
    assert_eq!((entry.size, entry.crc32), (long, Some(Crc32::of(b"5 GiB").value())));
    assert_eq!(checkpoint.read_storage(&file, StorageId(1)).unwrap(), [3; 8]);
}
