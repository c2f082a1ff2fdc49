//! Memory that the caller provides, for what is loaded.

use std::any::Any;
use std::sync::Arc;

use ckpt::tensor::{Allocator, Body, HostMemory, Source as _, TensorView};
use ckpt::{Dtype, Error, ErrorKind, LoadOptions, SaveOptions, State, load, save};

/// Somebody's memory. What is in it at first isn't zero.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl HostMemory for Memory {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

/// Provides memory that is longer than was asked for, by so many bytes.
#[derive(Debug)]
struct Memories(usize);

impl Allocator for Memories {
    fn allocate(&self, len: usize) -> Result<Box<dyn HostMemory>, Error> {
        Ok(Box::new(Memory(vec![0xA5; len + self.0])))
    }
}

/// Loads into memory that the caller provides.
pub(crate) fn options() -> LoadOptions {
    LoadOptions::default().with_memory(Arc::new(Memories(0)))
}

#[test]
fn the_caller_knows_its_memory_again() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.safetensors", "a.pt"] {
        let path = directory.path().join(name);
        let mut state = State::new();
        state.insert("w", TensorView::new(Dtype::U8, [3], vec![1, 2, 3]).unwrap()).unwrap();
        state.alias("tied", "w").unwrap();
        state.insert("none", TensorView::new(Dtype::U8, [0], Vec::new()).unwrap()).unwrap();
        save(&path, &state, &SaveOptions::default()).unwrap();
        let loaded = load(&path, &options()).unwrap();
        assert_eq!([known(&loaded, "w"), known(&loaded, "none")], [vec![1, 2, 3], Vec::new()], "{name}");
        assert_eq!(&*loaded.tensor("tied").unwrap().bytes().unwrap(), [1, 2, 3]);
    }
}

/// Returns what is in the memory of a tensor.
fn known(state: &State<'_>, name: &str) -> Vec<u8> {
    let tensor = state.tensor(name).unwrap();
    let Body::Strided { storage, .. } = &tensor.tensor().body else { panic!("{name} has no storage") };
    let memory = state.data(*storage).unwrap().as_any();
    memory.and_then(|memory| memory.downcast_ref::<Memory>()).expect("our own memory").0.clone()
}

#[test]
fn memory_of_another_length_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    let mut state = State::new();
    state.insert("w", TensorView::new(Dtype::U8, [3], vec![1, 2, 3]).unwrap()).unwrap();
    save(&path, &state, &SaveOptions::default()).unwrap();
    let error = load(&path, &LoadOptions::default().with_memory(Arc::new(Memories(1)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("memory for 3 bytes was asked for, and 4 were given"), "{error}");
}
