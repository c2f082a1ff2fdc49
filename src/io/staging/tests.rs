use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;
use crate::Dtype;
use crate::tensor::{Device, DeviceCopy, HostMemory, MapKind, Node, NodeId, Storage, TensorView, Tree};

fn content(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed.wrapping_mul(7)).to_le_bytes()[0]).collect()
}

fn state(bytes: &[Vec<u8>]) -> State<'_> {
    let mut state = State::new();
    for (number, bytes) in bytes.iter().enumerate() {
        let view = TensorView::new(Dtype::U8, [bytes.len() as u64], bytes.as_slice()).unwrap();
        state.insert(number.to_string(), view).unwrap();
    }
    state
}

fn id(number: usize) -> StorageId {
    StorageId(u32::try_from(number).unwrap())
}

/// Where a storage begins in its area.
fn start(staged: &State<'_>, number: usize) -> u64 {
    staged.data(id(number)).unwrap().region().unwrap().1
}

fn address(staged: &State<'_>, number: usize) -> usize {
    staged.data(id(number)).unwrap().bytes().unwrap().unwrap().as_ptr().addr()
}

#[test]
fn what_is_staged_is_the_same_and_stays_so() {
    let lengths = [0, 1, 100_000, 9 << 20, 4096, 3];
    let mut bytes: Vec<_> = lengths.iter().enumerate().map(|(seed, len)| content(seed, *len)).collect();
    let expected = bytes.clone();
    for threads in [0, 1, 3, 8] {
        let staging = Staging::new(threads);
        let staged = {
            let original = state(&bytes);
            let staged = staging.stage(&original, &[]).unwrap();
            assert_eq!(original.same_as(&staged).unwrap(), None);
            staged
        };
        // What the training loop does next.
        for bytes in &mut bytes {
            bytes.fill(0xEE);
        }
        assert_eq!(staged.same_as(&state(&expected)).unwrap(), None);
        bytes.clone_from(&expected);
    }
}

#[test]
fn an_area_is_used_again_but_not_while_it_is_in_use() {
    let (large, small) = ([content(1, 100_000)], [content(2, 50_000)]);
    let staging = Staging::new(1);
    staging.prepare(&state(&large)).unwrap();
    assert_eq!(staging.pool.idle(), 1);
    let first = staging.stage(&state(&large), &[]).unwrap();
    let second = staging.stage(&state(&small), &[]).unwrap();
    assert_eq!(staging.pool.idle(), 0);
    assert_ne!(address(&first, 0), address(&second, 0));
    let (there, clone) = (address(&first, 0), first.clone());
    drop(first);
    assert_eq!(staging.pool.idle(), 0);
    assert_eq!(*clone.tensor("0").unwrap().bytes().unwrap(), large[0]);
    drop(clone);
    let third = staging.stage(&state(&small), &[]).unwrap();
    assert_eq!(address(&third, 0), there);
    drop((second, third));
    assert_eq!(staging.pool.idle(), 2);
    // What doesn't fit any more is freed before more is asked for.
    let larger = [content(3, 20 << 20)];
    let fourth = staging.stage(&state(&larger), &[]).unwrap();
    assert_eq!(staging.pool.idle(), 0);
    assert_eq!(fourth.same_as(&state(&larger)).unwrap(), None);
}

#[test]
fn known_places_are_kept_as_in_the_file() {
    let bytes = [content(1, 5000), content(2, 100), content(3, 9000), content(4, 10)];
    // In the file: 2 at 8192, 0 right behind it, then a gap; nothing is known of 1.
    let places = [(id(2), 8192), (id(0), 17192), (id(3), 30000), (id(77), 5)];
    let staging = Staging::new(2);
    // Something else was there before: no byte of it may be left between the storages.
    drop(staging.stage(&state(&[vec![0xAA; 60_000]]), &[]).unwrap());
    let staged = staging.stage(&state(&bytes), &places).unwrap();
    assert_eq!([2, 0, 3].map(|number| start(&staged, number)), [0, 9000, 17712]);
    for (number, offset) in [(2, 8192), (0, 17192), (3, 30000)] {
        assert_eq!(address(&staged, number) % 4096, offset % 4096);
    }
    assert_eq!(start(&staged, 1) % 4096, 0);
    let (all, _) = staged.data(id(0)).unwrap().region().unwrap();
    assert!(all[14_000..17_712].iter().all(|byte| *byte == 0));
    assert_eq!(staged.same_as(&state(&bytes)).unwrap(), None);
}

#[test]
fn a_part_of_a_storage_is_copied_once() {
    let storage = |key: &str, bytes, part_of| Storage {
        key: key.to_owned(),
        dtype: None,
        bytes,
        device: "cpu".to_owned(),
        part_of,
    };
    let storages = vec![storage("0", 50, Some((StorageId(1), 10))), storage("1", 100, None)];
    let nodes = vec![Node::Map(MapKind::Dict, None)];
    let whole = content(1, 100);
    let data = vec![Data::from(&whole[10..60]), Data::from(&whole[..])];
    let state = State::from_parts(Tree::new(nodes, storages, NodeId(0)), data);
    let staged = Staging::new(1).stage(&state, &[]).unwrap();
    assert_eq!(staged.data(id(0)).unwrap().bytes().unwrap(), Some(&whole[10..60]));
    assert_eq!((start(&staged, 0), start(&staged, 1)), (10, 0));
}

/// Bytes that are handed out by reading alone; those of `broken` aren't.
struct Reader {
    bytes: Vec<u8>,
    broken: bool,
}

impl Source for Reader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        if self.broken {
            Err(Error::usage("the source is broken"))
        } else {
            self.bytes.read_at(buffer, offset)
        }
    }
}

fn lazy(source: Arc<dyn Source>) -> State<'static> {
    let mut state = State::new();
    let view = TensorView::new(Dtype::U8, [source.len()], Data::new(source)).unwrap();
    state.insert("0", view).unwrap();
    state
}

#[test]
fn what_is_not_in_memory_is_read() {
    let bytes = content(5, 5 << 20);
    let staging = Staging::new(2);
    let reader = Reader { bytes: bytes.clone(), broken: false };
    let staged = staging.stage(&lazy(Arc::new(reader)), &[]).unwrap();
    assert_eq!(staged.data(id(0)).unwrap().bytes().unwrap(), Some(&bytes[..]));
    let error = staging.stage(&lazy(Arc::new(Reader { bytes, broken: true })), &[]).unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    drop(staged);
    assert_eq!(staging.pool.idle(), 2);
}

/// An accelerator that counts what it is asked for.
#[derive(Debug, Default)]
struct FakeDevice {
    name: String,
    calls: AtomicUsize,
    copies: AtomicUsize,
    allocations: AtomicUsize,
}

#[derive(Debug)]
struct Pinned(Vec<u8>);

impl HostMemory for Pinned {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Device for FakeDevice {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn HostMemory>, Error> {
        self.allocations.fetch_add(1, Relaxed);
        Ok(Box::new(Pinned(vec![0; len])))
    }

    fn copy(&self, copies: &mut [DeviceCopy<'_>]) -> Result<(), Error> {
        self.calls.fetch_add(1, Relaxed);
        for copy in copies {
            self.copies.fetch_add(1, Relaxed);
            let source = copy.source.as_any().and_then(|any| any.downcast_ref::<OnDevice>());
            let source = source.ok_or_else(|| Error::usage("not mine"))?;
            assert_eq!(source.device.name, self.name);
            copy.target.copy_from_slice(&source.bytes);
        }
        Ok(())
    }
}

struct OnDevice {
    device: Arc<FakeDevice>,
    bytes: Vec<u8>,
}

impl Source for OnDevice {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> Result<(), Error> {
        Err(Error::usage("one by one is slow"))
    }

    fn device(&self) -> Option<Arc<dyn Device>> {
        Some(Arc::clone(&self.device) as Arc<dyn Device>)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

#[test]
fn a_device_copies_all_of_its_own_at_once() {
    let device = |name: &str| Arc::new(FakeDevice { name: name.to_owned(), ..FakeDevice::default() });
    let devices = [device("cuda:0"), device("cuda:1")];
    let mut state = State::new();
    let expected: Vec<_> = (0..9).map(|number| content(number, 1000 + number)).collect();
    for (number, bytes) in expected.iter().enumerate() {
        let source: Arc<dyn Source> = match devices.get(number % 3) {
            Some(device) => Arc::new(OnDevice { device: Arc::clone(device), bytes: bytes.clone() }),
            None => Arc::new(bytes.clone()),
        };
        let view = TensorView::new(Dtype::U8, [bytes.len() as u64], Data::new(source)).unwrap();
        state.insert(number.to_string(), view).unwrap();
    }
    let staging = Staging::new(2);
    for round in 1..=3 {
        let staged = staging.stage(&state, &[]).unwrap();
        for (number, bytes) in expected.iter().enumerate() {
            assert_eq!(staged.data(id(number)).unwrap().bytes().unwrap(), Some(&bytes[..]));
        }
        assert_eq!(address(&staged, 0) % 64, 0);
        let counts = |count: fn(&FakeDevice) -> &AtomicUsize| {
            devices.iter().map(|device| count(device).load(Relaxed)).collect::<Vec<_>>()
        };
        assert_eq!(counts(|device| &device.calls), [round, round]);
        assert_eq!(counts(|device| &device.copies), [3 * round, 3 * round]);
        assert_eq!(counts(|device| &device.allocations), [1, 0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the places say, nothing overlaps, and all is there.
    #[test]
    fn any_places_will_do(
        lengths in prop::collection::vec(0..20_000_usize, 0..40),
        places in prop::collection::vec((0..50_usize, any::<u64>()), 0..60),
    ) {
        let bytes: Vec<_> = lengths.iter().enumerate().map(|(seed, len)| content(seed, *len)).collect();
        let places: Vec<_> = places.into_iter().map(|(number, offset)| (id(number), offset)).collect();
        let original = state(&bytes);
        let staged = Staging::new(2).stage(&original, &places).unwrap();
        prop_assert_eq!(original.same_as(&staged).unwrap(), None);
    }
}
