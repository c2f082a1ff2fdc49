//! States that only a reader makes, through `save` and `load`: views that overlap, and values that
//! [`Value`](crate::tensor::Value) has none of. And a device that isn't what it says.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::digest::Algorithm;
use crate::format::torch::Pickled;
use crate::io::ScanSource;
use crate::io::commit::{Disk, DiskFile, Durability, Existing, LocalDisk, Locked, Stat};
use crate::record::Level;
use crate::tensor::{
    Body, Data, Map, MapKind, Node, NodeId, State, Storage, StorageId, Tensor, Tree, extent,
};
use crate::{Dtype, ErrorKind};

const DTYPES: [Dtype; 6] = [Dtype::F32, Dtype::U16, Dtype::Bool, Dtype::C64, Dtype::F8E4m3fn, Dtype::I64];

/// The bytes of each storage; with these, views of any of the dtypes fit.
const STORAGE_BYTES: u64 = 192;

/// How a tensor sees its storage.
#[derive(Clone, Debug)]
struct View {
    dtype: Dtype,
    storage: u32,
    offset: u64,
    dims: Vec<(u64, u64)>,
    flags: u8,
}

fn view() -> impl Strategy<Value = View> {
    let dims = vec((0_u64..4, 0_u64..4), 0..4);
    (0..DTYPES.len(), 0_u32..3, 0_u64..4, dims, any::<u8>()).prop_map(
        |(dtype, storage, offset, dims, flags)| View { dtype: DTYPES[dtype], storage, offset, dims, flags },
    )
}

impl View {
    fn tensor(&self) -> Tensor {
        let (shape, strides): (Vec<_>, Vec<_>) = self.dims.iter().copied().unzip();
        let dtype = self.dtype;
        assert!(extent(self.offset, &shape, &strides).unwrap() * dtype.bits() / 8 <= STORAGE_BYTES + 64);
        let body =
            Body::Strided { storage: StorageId(self.storage), offset: self.offset, strides, quantizer: None };
        let mut tensor = Tensor::new(dtype, shape, body);
        tensor.parameter = self.flags & 1 == 1;
        tensor.requires_grad = dtype.is_differentiable() && self.flags & 2 == 2;
        tensor.conjugated = dtype == Dtype::C64 && self.flags & 4 == 4;
        tensor
    }
}

/// A value that stands by itself.
fn plain() -> impl Strategy<Value = Node> {
    let big = vec(any::<u8>(), 8..40).prop_map(|mut bytes| {
        // In its shortest form: the last byte isn't the sign of the one below alone.
        bytes.push(0x55);
        Node::BigInt(bytes.into())
    });
    prop_oneof![
        big,
        any::<u64>().prop_map(|bits| Node::Float(f64::from_bits(bits))),
        any::<(u64, u64)>().prop_map(|(re, im)| Node::Complex(f64::from_bits(re), f64::from_bits(im))),
        ".{0,5}"
            .prop_map(|text| Node::SurrogateText([&b"\xed\xb2\x80"[..], text.as_bytes()].concat().into())),
        vec(any::<u8>(), 0..6).prop_map(|bytes| Node::ByteArray(bytes.into())),
        vec(0_i64..10, 0..4).prop_map(Node::Size),
        Just(Node::Device("cuda:1".into())),
        Just(Node::Dtype(Dtype::Bf16)),
        any::<i64>().prop_map(Node::Int),
    ]
}

/// A state of these tensors and values, with maps and sets around them, and one list at two places.
fn built(views: &[View], values: &[Node]) -> State<'static> {
    let mut nodes: Vec<Node> = values.to_vec();
    nodes.extend(views.iter().map(|view| Node::Tensor(Box::new(view.tensor()))));
    let count = u32::try_from(nodes.len()).unwrap();
    let add = |node: Node, nodes: &mut Vec<Node>| {
        nodes.push(node);
        NodeId(u32::try_from(nodes.len() - 1).unwrap())
    };
    // A view that alone sees its storage is stored row-major in a safetensors file: see the test below.
    let whole = |number| Tensor::contiguous(Dtype::F32, vec![(STORAGE_BYTES + 64) / 4], StorageId(number));
    nodes.extend((0..3).map(|number| Node::Tensor(Box::new(whole(number)))));
    let count = count + 3;
    let shared = add(Node::List((0..count).map(NodeId).collect()), &mut nodes);
    let members: Vec<_> = (0..4).map(|at| add(Node::Int(at + 10), &mut nodes)).collect();
    let set = add(Node::Set(members), &mut nodes);
    let mut entries = Vec::new();
    for (at, value) in (0..count).map(NodeId).chain([shared, shared, set]).enumerate() {
        entries.push((add(Node::Text(format!("key {at}").into()), &mut nodes), value));
    }
    let root = Node::Map(MapKind::OrderedDict, Some(Box::new(Map { entries, attributes: None })));
    let root = add(root, &mut nodes);
    let storage = |number: u32| Storage {
        key: number.to_string(),
        dtype: Some(Dtype::F32),
        bytes: STORAGE_BYTES + 64,
        device: "cpu".into(),
        part_of: None,
    };
    let bytes =
        |number: u32| (0..STORAGE_BYTES + 64).map(move |at| (at * 7 + u64::from(number)).to_le_bytes()[0]);
    let data = (0..3).map(|number| bytes(number).collect::<Vec<_>>().into()).collect();
    State::from_parts(Tree::new(nodes, (0..3).map(storage).collect(), root), data)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn views_and_python_s_own_values_come_back(views in vec(view(), 0..8), values in vec(plain(), 0..8)) {
        let state = built(&views, &values);
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.safetensors", "a.pt"] {
            for algorithm in Algorithm::ALL {
                let path = directory.path().join(name);
                let options = SaveOptions::default().with_algorithm(algorithm).with_durability(Durability::None);
                save(&path, &state, &options).unwrap();
                for access in [Access::Eager, Access::Mapped] {
                    let loaded = load(&path, &LoadOptions::default().with_access(access)).unwrap();
                    let difference = state.same_as(&loaded).unwrap();
                    prop_assert!(difference.is_none(), "{name} {access:?}: {}", difference.unwrap());
                }
                filled(&path, &state);
            }
        }
    }
}

/// Loads into memory that is there, and holds it against the state.
fn filled(path: &Path, state: &State<'_>) {
    let tensors = state.tensors().unwrap();
    let elements: Vec<_> = tensors.iter().map(|tensor| tensor.bytes().unwrap().into_owned()).collect();
    let mut memory: Vec<_> = elements.iter().map(|bytes| vec![0xA5; bytes.len()]).collect();
    let mut targets = Vec::new();
    for (tensor, bytes) in tensors.iter().zip(&mut memory) {
        targets.push(Target { name: tensor.name(), dtype: tensor.dtype(), shape: tensor.shape(), bytes });
    }
    load_into(path, &mut targets, &LoadOptions::default()).unwrap();
    assert!(memory == elements, "{}", path.display());
}

/// What nobody sees is left out: a lone view comes back with its elements in order.
#[test]
fn a_view_that_is_alone_comes_back_in_order() {
    let view = View { dtype: Dtype::U16, storage: 0, offset: 1, dims: vec![(2, 1), (3, 2)], flags: 0 };
    let root = Node::Tuple(vec![NodeId(0)]);
    let storage =
        Storage { key: "0".into(), dtype: Some(Dtype::U16), bytes: 40, device: "cpu".into(), part_of: None };
    let nodes = vec![Node::Tensor(Box::new(view.tensor())), root];
    let bytes: Vec<u8> = (0..40).collect();
    let state = State::from_parts(Tree::new(nodes, vec![storage], NodeId(1)), vec![bytes.into()]);
    let directory = tempfile::tempdir().unwrap();
    for (name, strides) in [("a.safetensors", vec![3, 1]), ("a.pt", vec![1, 2])] {
        let path = directory.path().join(name);
        save(&path, &state, &SaveOptions::default()).unwrap();
        let loaded = load(&path, &LoadOptions::default()).unwrap();
        let (one, other) = (state.tensor("0").unwrap(), loaded.tensor("0").unwrap());
        assert_eq!((one.bytes().unwrap(), one.shape()), (other.bytes().unwrap(), other.shape()));
        assert!(matches!(&other.tensor().body, Body::Strided { strides: found, .. } if *found == strides));
    }
}

/// A storage that is a part of another, as old files of PyTorch have it, with a tensor on each.
fn parts() -> State<'static> {
    let tensor = |storage, length| {
        Node::Tensor(Box::new(Tensor::contiguous(Dtype::U8, vec![length], StorageId(storage))))
    };
    let text = |text: &str| Node::Text(text.into());
    let entries = vec![(NodeId(0), NodeId(1)), (NodeId(2), NodeId(3))];
    let root = Node::Map(MapKind::Dict, Some(Box::new(Map { entries, attributes: None })));
    let nodes = vec![text("whole"), tensor(0, 100), text("part"), tensor(1, 20), root];
    let storage = |key: &str, bytes, part_of| Storage {
        key: key.into(),
        dtype: Some(Dtype::U8),
        bytes,
        device: "cpu".into(),
        part_of,
    };
    let storages = vec![storage("0", 100, None), storage("1", 20, Some((StorageId(0), 30)))];
    let bytes: Vec<u8> = (0..100).collect();
    let data = vec![bytes.clone().into(), bytes[30..50].to_vec().into()];
    State::from_parts(Tree::new(nodes, storages, NodeId(4)), data)
}

/// A proof's blocks are those of whole storages: of a part, those that it lies in.
#[test]
fn damage_in_a_part_of_a_storage_is_found_by_who_reads_the_part_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    save(&path, &parts(), &SaveOptions::default()).unwrap();
    let options = |access| LoadOptions::default().with_access(access).with_tensors("part".parse().unwrap());
    let part = |access| {
        load(&path, &options(access))
            .map(|state| state.tensor("part").unwrap().bytes().map(std::borrow::Cow::into_owned))
    };
    let mut memory = [0; 20];
    let mut into = || {
        let target = Target { name: "part", dtype: Dtype::U8, shape: &[20], bytes: &mut memory };
        load_into(&path, &mut [target], &LoadOptions::default())
    };
    let expected: Vec<u8> = (30..50).collect();
    assert_eq!(part(Access::Eager).unwrap().unwrap(), expected);
    assert_eq!(part(Access::Mapped).unwrap().unwrap(), expected);
    into().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let start = bytes.len() - 100;
    bytes[start + 40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(part(Access::Eager).unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(part(Access::Mapped).unwrap().unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(into().unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(memory.len(), 20);
}

/// A device that lost what was written, and still holds another checkpoint in its place.
#[derive(Debug)]
struct Stale(PathBuf);

impl Disk for Stale {
    fn open(&self, _: &Path) -> io::Result<Box<dyn ScanSource>> {
        LocalDisk.open(&self.0)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        LocalDisk.resolve(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        LocalDisk.stat(path)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.create(path, mode)
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        LocalDisk.read(path, most)
    }

    fn rename(&self, from: &Path, to: &Path, existing: Existing) -> io::Result<()> {
        LocalDisk.rename(from, to, existing)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        LocalDisk.sync_directory(directory)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        LocalDisk.list(directory)
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<bool> {
        LocalDisk.remove_abandoned(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_directory(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove_tree(path)
    }

    fn remove_abandoned_tree(&self, path: &Path, is_sure: bool) -> io::Result<bool> {
        LocalDisk.remove_abandoned_tree(path, is_sure)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Locked> {
        LocalDisk.lock(path, holder)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        LocalDisk.free_bytes(directory)
    }
}

#[test]
fn another_sound_checkpoint_in_its_place_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.safetensors", "a.pt"] {
        let (path, other) = (directory.path().join(name), directory.path().join(format!("old-{name}")));
        let mut state = State::new();
        state.insert("step", 1).unwrap();
        save(&other, &state, &SaveOptions::default()).unwrap();
        state.insert("step", 2).unwrap();
        let error = save_on(&Stale(other), &path, &state, &SaveOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(error.to_string().contains("it has another proof"), "{error}");
        assert!(!path.exists());
    }
}

#[test]
fn every_byte_of_what_needs_trust_is_read_back() {
    /// `{'w': <class of somebody>}`.
    const CLASS: &[u8] = b"\x80\x02}q\0X\x01\0\0\0wcsomebody\nClass\ns.";
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("a.pt"), directory.path().join("written.pt"));
    let pickled = Pickled::new(CLASS.to_vec(), vec![Data::from(vec![7_u8; 9000])]).unwrap();
    let options = SaveOptions::default();
    let saved = save_pickled(&other, &pickled, &options).unwrap();
    assert_eq!(saved.validated, Some(Level::Container));
    save_pickled_on(&Stale(other.clone()), &directory.path().join("b.pt"), &pickled, &options).unwrap();
    let mut bytes = std::fs::read(&other).unwrap();
    let at = bytes.windows(100).position(|window| window == [7; 100]).unwrap();
    bytes[at + 4000] ^= 1;
    std::fs::write(&other, bytes).unwrap();
    let error = save_pickled_on(&Stale(other), &path, &pickled, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(!path.exists());
}

/// A state of some windows.
fn large() -> State<'static> {
    let bytes = vec![7; 3 << 22];
    let mut state = State::new();
    let view = crate::tensor::TensorView::new(Dtype::U8, [bytes.len() as u64], bytes).unwrap();
    state.insert("w", view).unwrap();
    state
}

fn names_in(directory: &Path) -> Vec<OsString> {
    let mut names = LocalDisk.list(directory).unwrap();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn a_link_itself_is_replaced_where_that_is_asked_for_and_the_name_is_never_free() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let options = SaveOptions::default().with_link_replaced();
    save(&at("old.safetensors"), &State::new(), &SaveOptions::default()).unwrap();
    let old = std::fs::read(at("old.safetensors")).unwrap();
    for (number, target) in ["old.safetensors", "nothing", "last.safetensors"].into_iter().enumerate() {
        let link = at("last.safetensors");
        drop(std::fs::remove_file(&link));
        std::os::unix::fs::symlink(target, &link).unwrap();
        let seen = link.clone();
        let options =
            options.clone().with_progress(move |_| assert!(seen.symlink_metadata().unwrap().is_symlink()));
        let refused = save(&link, &large(), &options.clone().without_overwriting()).unwrap_err();
        assert!(refused.to_string().contains("to be"), "{number}: {refused}");
        assert!(link.is_symlink());
        let saved = save(&link, &large(), &options).unwrap();
        assert!(link.symlink_metadata().unwrap().is_file(), "{number}");
        assert_eq!(saved.path.file_name(), link.file_name());
        assert_eq!(std::fs::read(at("old.safetensors")).unwrap(), old);
        assert_eq!(names_in(directory.path()), ["last.safetensors", "old.safetensors"]);
    }
    // Of a file that is none, mode and all are kept as ever; a directory is refused as ever.
    std::fs::set_permissions(at("old.safetensors"), std::os::unix::fs::PermissionsExt::from_mode(0o640))
        .unwrap();
    save(&at("old.safetensors"), &large(), &options).unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&at("old.safetensors").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    std::fs::create_dir(at("directory.pt")).unwrap();
    assert!(save(&at("directory.pt"), &State::new(), &options).is_err());
}

#[test]
fn a_save_that_is_cancelled_leaves_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    save(&path, &State::new(), &SaveOptions::default()).unwrap();
    let old = std::fs::read(&path).unwrap();
    let is_old = || {
        assert_eq!(std::fs::read(&path).unwrap(), old);
        assert_eq!(names_in(directory.path()), ["model.safetensors"]);
    };
    for threads in [1, 8] {
        // In the first window that is written.
        let cancel = crate::io::Cancel::default();
        let (same, written) = (cancel.clone(), std::sync::Arc::new(std::sync::Mutex::new(0)));
        let counter = std::sync::Arc::clone(&written);
        let options =
            SaveOptions::default().with_threads(threads).with_cancel(cancel).with_progress(move |bytes| {
                *counter.lock().unwrap() += bytes;
                same.cancel();
            });
        let error = save(&path, &large(), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("cancelled"), "{error}");
        assert!(threads > 1 || *written.lock().unwrap() < 3 << 22);
        is_old();
    }
    // When all is written, and nothing was verified; and when all was verified.
    for validate in [true, false] {
        let cancel = crate::io::Cancel::default();
        let (same, left) = (cancel.clone(), std::sync::Arc::new(std::sync::Mutex::new(3_u64 << 22)));
        let mut options = SaveOptions::default().with_threads(1).with_cancel(cancel.clone());
        if validate {
            options = options.with_progress(move |bytes| {
                let mut left = left.lock().unwrap();
                *left -= bytes;
                if *left == 0 {
                    same.cancel();
                }
            });
        }
        let check = || {
            assert!(!validate, "it wasn't verified");
            cancel.cancel();
            Ok(())
        };
        let error = save_checked(&LocalDisk, &path, &large(), &options, &check).unwrap_err();
        assert!(error.to_string().contains("cancelled"), "{error}");
        is_old();
    }
}
