//! What Python wants to save, as a state.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ckpt::tensor::{
    Array, ArrayData, Body, Data, Map, MapKind, Node, NodeId, Source, Storage, StorageId, Tensor, TreeBuilder,
};
use ckpt::{Dtype, Error, State};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple,
};

use super::numpy::Numpy;
use super::torch::{Torch, Use};
use crate::collector::Pause;
use crate::device::{Accelerator, OnDevice};
use crate::errors::{self, Unfit};
use crate::memory::Memory;

/// Values that are nested deeper than this are refused: no reader would take them.
const MAX_DEPTH: usize = 100;

/// What becomes of tensors that lie on an accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerators {
    /// They are copied to the host at once.
    Copied,
    /// Those on CUDA devices stay until the state is staged.
    Stay,
    /// As `Stay`, and the host is taken for a device too: what can be tested of it without one.
    Played,
}

/// Takes a value as a state. No tensor on the host is copied: the state holds on to its storage.
///
/// Raises `Unfit` with the keys that lead to a value that no state can hold, and its type.
pub(crate) fn take(value: &Bound<'_, PyAny>) -> PyResult<State<'static>> {
    take_with(value, Accelerators::Copied)
}

/// As `take`, and says what becomes of tensors on an accelerator.
pub(crate) fn take_with(value: &Bound<'_, PyAny>, accelerators: Accelerators) -> PyResult<State<'static>> {
    let py = value.py();
    let _pause = Pause::new(py)?;
    let mut walk = Walk {
        py,
        torch: Torch::loaded(py)?,
        numpy: Numpy::loaded(py)?,
        accelerators,
        devices: HashMap::new(),
        tree: TreeBuilder::default(),
        data: Vec::new(),
        storages: HashMap::new(),
        seen: HashMap::new(),
        kept: Vec::new(),
        path: Vec::new(),
    };
    let root = walk.node(value)?;
    let tree = walk.tree.finish(root).map_err(|error| errors::raise(py, &error))?;
    Ok(State::from_parts(tree, walk.data))
}

struct Walk<'py> {
    py: Python<'py>,
    torch: Option<Use<'py>>,
    numpy: Option<Numpy<'py>>,
    accelerators: Accelerators,
    /// By their names.
    devices: HashMap<String, Arc<Accelerator>>,
    tree: TreeBuilder,
    data: Vec<Data<'static>>,
    /// By address and length.
    storages: HashMap<(usize, usize), StorageId>,
    /// The containers and tensors that were met, by their addresses; none for one that isn't done.
    seen: HashMap<usize, Option<NodeId>>,
    /// What was met lives on, so that no address is given to another object.
    kept: Vec<Bound<'py, PyAny>>,
    /// What leads to the present value.
    path: Vec<Step<'py>>,
}

/// What leads from a value into it.
enum Step<'py> {
    Key(Bound<'py, PyAny>),
    Place(usize),
    Attributes,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => {
                f.write_str(&key.str().map_or("?".into(), |key| key.to_string_lossy().into_owned()))
            }
            Self::Place(place) => place.fmt(f),
            Self::Attributes => f.write_str("__dict__"),
        }
    }
}

impl<'py> Walk<'py> {
    fn unfit(&self, what: impl Into<String>) -> PyErr {
        let path: Vec<_> = self.path.iter().map(ToString::to_string).collect();
        Unfit::new_err((path.join("."), what.into()))
    }

    fn push(&mut self, node: Node) -> PyResult<NodeId> {
        self.tree.node(node).map_err(|error| errors::raise(self.py, &error))
    }

    /// Adds a value, and all that it holds.
    fn node(&mut self, value: &Bound<'py, PyAny>) -> PyResult<NodeId> {
        if let Some(plain) = self.plain(value)? {
            return self.push(plain);
        }
        if self.path.len() > MAX_DEPTH {
            return Err(self.unfit(format!("nested more than {MAX_DEPTH} deep")));
        }
        let address = value.as_ptr().addr();
        match self.seen.get(&address) {
            Some(Some(id)) => return Ok(*id),
            Some(None) => return Err(self.unfit("a value that contains itself")),
            None => {}
        }
        self.seen.insert(address, None);
        self.kept.push(value.clone());
        let node = self.holder(value)?;
        let id = self.push(node)?;
        self.seen.insert(address, Some(id));
        Ok(id)
    }

    /// Returns the node of a value that holds no others. Subclasses are something else than what they derive from.
    fn plain(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Node>> {
        Ok(Some(if value.is_none() {
            Node::None
        } else if let Ok(value) = value.cast_exact::<PyBool>() {
            Node::Bool(value.is_true())
        } else if let Ok(value) = value.cast_exact::<PyInt>() {
            integer(value)?
        } else if let Ok(value) = value.cast_exact::<PyFloat>() {
            Node::Float(value.value())
        } else if let Ok(value) = value.cast_exact::<PyString>() {
            // A lone surrogate is no text elsewhere.
            let text = value.extract::<&str>().map_err(|_| self.unfit("text with a lone surrogate"))?;
            Node::Text(text.into())
        } else if let Ok(value) = value.cast_exact::<PyBytes>() {
            Node::Bytes(value.as_bytes().into())
        } else if let Ok(value) = value.cast_exact::<PyByteArray>() {
            Node::ByteArray(value.to_vec().into())
        } else if let Ok(value) = value.cast_exact::<PyComplex>() {
            Node::Complex(value.real(), value.imag())
        } else {
            return self.of_torch(value);
        }))
    }

    /// Returns the node of one of PyTorch's small values.
    fn of_torch(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Node>> {
        let Some(torch) = self.torch else { return Ok(None) };
        let kind = value.get_type().into_any();
        if torch.is_size(&kind) {
            return Ok(Some(Node::Size(value.extract()?)));
        }
        if torch.is_device(&kind) {
            return Ok(Some(Node::Device(value.str()?.extract::<&str>()?.into())));
        }
        if torch.is_dtype(&kind) {
            return match torch.dtype_of(value) {
                Some(dtype) => Ok(Some(Node::Dtype(dtype))),
                None => Err(self.unfit(value.repr()?.extract::<String>()?)),
            };
        }
        Ok(None)
    }

    /// Returns the node of a value that holds others.
    fn holder(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Node> {
        if let Ok(list) = value.cast_exact::<PyList>() {
            return Ok(Node::List(self.items(list.iter())?));
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            return Ok(Node::Tuple(self.items(tuple.iter())?));
        }
        if let Ok(map) = value.cast_exact::<PyDict>() {
            return self.map(MapKind::Dict, map, None);
        }
        if let Ok(set) = value.cast_exact::<PySet>() {
            return Ok(Node::Set(self.items(set.iter())?));
        }
        if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
            return Ok(Node::FrozenSet(self.items(set.iter())?));
        }
        let kind = value.get_type();
        if let (Ok(map), Some(map_kind)) = (value.cast::<PyDict>(), map_kind(&kind)?) {
            let attributes = value.getattr_opt(pyo3::intern!(self.py, "__dict__"))?;
            let attributes = attributes.filter(|attributes| attributes.len().is_ok_and(|len| len > 0));
            let attributes =
                attributes.map(|attributes| self.at(Step::Attributes, &attributes)).transpose()?;
            return self.map(map_kind, map, attributes);
        }
        if let Some(torch) = self.torch {
            let parameter = torch.is_parameter(&kind);
            if parameter || torch.is_tensor(&kind) {
                return self.tensor(torch, value, parameter);
            }
        }
        if let Some(numpy) = self.numpy.clone().filter(|numpy| numpy.knows(value).unwrap_or(false)) {
            return self.array(&numpy, value);
        }
        let (module, name) = (kind.module()?.to_string(), kind.qualname()?.to_string());
        Err(self.unfit(format!("a value of type {module}.{name}")))
    }

    fn items(&mut self, items: impl Iterator<Item = Bound<'py, PyAny>>) -> PyResult<Vec<NodeId>> {
        items.enumerate().map(|(place, item)| self.at(Step::Place(place), &item)).collect()
    }

    /// Adds a value inside of the present one.
    fn at(&mut self, step: Step<'py>, value: &Bound<'py, PyAny>) -> PyResult<NodeId> {
        self.path.push(step);
        let id = self.node(value)?;
        self.path.pop();
        Ok(id)
    }

    fn map(&mut self, kind: MapKind, map: &Bound<'py, PyDict>, attributes: Option<NodeId>) -> PyResult<Node> {
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map.iter() {
            self.path.push(Step::Key(key.clone()));
            entries.push((self.node(&key)?, self.node(&value)?));
            self.path.pop();
        }
        let map =
            (!entries.is_empty() || attributes.is_some()).then(|| Box::new(Map { entries, attributes }));
        Ok(Node::Map(kind, map))
    }

    fn array(&mut self, numpy: &Numpy<'py>, value: &Bound<'py, PyAny>) -> PyResult<Node> {
        let taken = numpy.take(value)?.map_err(|what| self.unfit(what))?;
        let data = ArrayData::Bytes(self.push(Node::Bytes(taken.bytes.as_bytes().into()))?);
        let (dtype, shape) = (taken.dtype.into(), taken.shape);
        Ok(Node::Array(Box::new(Array { dtype, shape, fortran: taken.fortran, scalar: taken.scalar, data })))
    }

    fn tensor(&mut self, torch: Use<'py>, value: &Bound<'py, PyAny>, parameter: bool) -> PyResult<Node> {
        let py = self.py;
        let get = |name: &Bound<'py, PyString>| value.getattr(name);
        let call = |name: &Bound<'py, PyString>| value.call_method0(name);
        let dtype = get(pyo3::intern!(py, "dtype"))?;
        let dtype = torch.dtype_of(&dtype).ok_or_else(|| self.unfit(format!("a tensor of {dtype}")))?;
        let is_nested = get(pyo3::intern!(py, "is_nested"))?.is_truthy()?;
        if is_nested || is_quantized(dtype) || !torch.is_strided(&get(pyo3::intern!(py, "layout"))?) {
            return Err(self.unfit("a tensor that is sparse, nested or quantized"));
        }
        if get(pyo3::intern!(py, "__dict__"))?.len()? > 0 {
            return Err(self.unfit("a tensor with attributes of its own"));
        }
        let shape: Vec<u64> = get(pyo3::intern!(py, "shape"))?.extract()?;
        let mut tensor = Tensor::new(dtype, shape, Body::Meta);
        tensor.parameter = parameter;
        tensor.requires_grad = get(pyo3::intern!(py, "requires_grad"))?.is_truthy()?;
        tensor.negated = call(pyo3::intern!(py, "is_neg"))?.is_truthy()?;
        tensor.conjugated = is_complex(dtype) && call(pyo3::intern!(py, "is_conj"))?.is_truthy()?;
        // Most lie on the host, and each question costs as much as all that is done with the answer.
        let is_host = get(pyo3::intern!(py, "is_cpu"))?.is_truthy()?;
        if is_host || !get(pyo3::intern!(py, "is_meta"))?.is_truthy()? {
            let offset = call(pyo3::intern!(py, "storage_offset"))?.extract()?;
            let strides = call(pyo3::intern!(py, "stride"))?.extract()?;
            let storage = self.storage(value, dtype, is_host)?;
            tensor.body = Body::Strided { storage, offset, strides, quantizer: None };
        }
        Ok(Node::Tensor(Box::new(tensor)))
    }

    /// Adds a tensor's storage, unless another tensor of the state sees it too.
    fn storage(&mut self, tensor: &Bound<'py, PyAny>, dtype: Dtype, is_host: bool) -> PyResult<StorageId> {
        let py = self.py;
        let storage = tensor.call_method0(pyo3::intern!(py, "untyped_storage"))?;
        // On a device, it is the address there that says which storage it is: that of a copy says nothing.
        let memory = Memory::of(&storage)?;
        let (place, bytes) = (memory.place(), Source::len(&memory));
        if let Some(id) = self.storages.get(&place).filter(|_| bytes > 0) {
            return Ok(*id);
        }
        let device = if is_host {
            "cpu".to_owned()
        } else {
            tensor.getattr(pyo3::intern!(py, "device"))?.str()?.extract()?
        };
        self.kept.push(storage.clone());
        let data = self.data_of(&storage, memory, &device)?;
        let described = Storage { key: String::new(), dtype: Some(dtype), bytes, device, part_of: None };
        let id = self.tree.storage(described).map_err(|error: Error| errors::raise(py, &error))?;
        self.data.push(data);
        self.storages.insert(place, id);
        Ok(id)
    }

    /// Returns a storage's bytes, where they are, or copied to the host.
    fn data_of(
        &mut self,
        storage: &Bound<'py, PyAny>,
        memory: Memory,
        device: &str,
    ) -> PyResult<Data<'static>> {
        let is_host = device == "cpu";
        let stays = match self.accelerators {
            Accelerators::Copied => false,
            Accelerators::Stay => device.starts_with("cuda"),
            Accelerators::Played => true,
        };
        if stays && !Source::is_empty(&memory) {
            let device = self.device(device)?;
            return Ok(Data::new(Arc::new(OnDevice::new(memory, device))));
        }
        if is_host {
            return Ok(Data::new(Arc::new(memory)));
        }
        let copy = storage.call_method0(pyo3::intern!(self.py, "cpu"))?;
        Ok(Data::new(Arc::new(Memory::of(&copy)?)))
    }

    fn device(&mut self, name: &str) -> PyResult<Arc<Accelerator>> {
        if let Some(device) = self.devices.get(name) {
            return Ok(Arc::clone(device));
        }
        let device = Arc::new(Accelerator::new(self.py, name)?);
        self.devices.insert(name.to_owned(), Arc::clone(&device));
        Ok(device)
    }
}

/// Returns the kind of map that a class of the standard library is.
fn map_kind(kind: &Bound<'_, pyo3::types::PyType>) -> PyResult<Option<MapKind>> {
    if kind.module()? != "collections" {
        return Ok(None);
    }
    Ok(match kind.qualname()?.to_str()? {
        "OrderedDict" => Some(MapKind::OrderedDict),
        "Counter" => Some(MapKind::Counter),
        _ => None,
    })
}

fn integer(value: &Bound<'_, PyInt>) -> PyResult<Node> {
    if let Ok(value) = value.extract::<i64>() {
        return Ok(Node::Int(value));
    }
    let bits: usize = value.call_method0("bit_length")?.extract()?;
    let keywords = PyDict::new(value.py());
    keywords.set_item("signed", true)?;
    // One bit more, for the sign.
    let bytes = value.call_method("to_bytes", (bits / 8 + 1, "little"), Some(&keywords))?;
    Ok(Node::integer(bytes.cast::<PyBytes>()?.as_bytes()))
}

fn is_quantized(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::QI8 | Dtype::QU8 | Dtype::QI32 | Dtype::QU4x2 | Dtype::QU2x4)
}

fn is_complex(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::C32 | Dtype::C64 | Dtype::C128)
}
