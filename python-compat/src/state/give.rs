//! What was loaded, as Python's values.

use std::collections::HashMap;

use ckpt::State;
use ckpt::tensor::{Array, ArrayData, Body, Data, Map, MapKind, Node, NodeId, Source, StorageId, Tensor};
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple,
};

use super::numpy;
use super::torch::{Torch, Use};
use crate::collector::Pause;
use crate::errors::Unfit;
use crate::memory::Memory;

/// Makes Python's values of a state. Tensors see the memory that they were loaded into, or a copy of it on a device;
/// what shares a storage shares one there too.
///
/// Raises `Unfit` with the kind of a value that only PyTorch itself can make.
pub(crate) fn give<'py>(
    py: Python<'py>,
    state: &State<'static>,
    device: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let _pause = Pause::new(py)?;
    let mut build = Build { py, state, device, torch: None, made: HashMap::new(), storages: HashMap::new() };
    build.value(state.tree().root())
}

struct Build<'py, 's> {
    py: Python<'py>,
    state: &'s State<'static>,
    /// Where tensors go; none for the host.
    device: Option<&'s Bound<'py, PyAny>>,
    torch: Option<Use<'py>>,
    /// What several places share is made once.
    made: HashMap<NodeId, Bound<'py, PyAny>>,
    storages: HashMap<StorageId, Bound<'py, PyAny>>,
}

impl<'py> Build<'py, '_> {
    /// Makes a value. A state's depth is bounded, and so is the stack.
    fn value(&mut self, id: NodeId) -> PyResult<Bound<'py, PyAny>> {
        if let Some(made) = self.made.get(&id) {
            return Ok(made.clone());
        }
        let value = self.make(id)?;
        self.made.insert(id, value.clone());
        Ok(value)
    }

    fn values(&mut self, ids: &[NodeId]) -> PyResult<Vec<Bound<'py, PyAny>>> {
        ids.iter().map(|id| self.value(*id)).collect()
    }

    fn make(&mut self, id: NodeId) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let state = self.state;
        Ok(match state.tree().node(id) {
            Node::None => py.None().into_bound(py),
            Node::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
            Node::Int(value) => value.into_pyobject(py)?.into_any(),
            Node::BigInt(bytes) => big_integer(py, bytes)?,
            Node::Float(value) => PyFloat::new(py, *value).into_any(),
            Node::Complex(real, imaginary) => PyComplex::from_doubles(py, *real, *imaginary).into_any(),
            Node::Text(text) => PyString::new(py, text).into_any(),
            Node::SurrogateText(bytes) => surrogates(py, bytes)?,
            Node::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
            Node::ByteArray(bytes) => PyByteArray::new(py, bytes).into_any(),
            Node::List(items) => PyList::new(py, self.values(items)?)?.into_any(),
            Node::Tuple(items) => PyTuple::new(py, self.values(items)?)?.into_any(),
            Node::Set(items) => PySet::new(py, self.values(items)?)?.into_any(),
            Node::FrozenSet(items) => PyFrozenSet::new(py, self.values(items)?)?.into_any(),
            Node::Map(kind, map) => self.map(*kind, map.as_deref())?,
            Node::Size(lengths) => self.torch()?.size(lengths)?,
            Node::Device(name) => self.torch()?.device(name)?,
            Node::Dtype(dtype) => self.dtype(*dtype)?,
            Node::Tensor(tensor) => self.tensor(tensor)?,
            Node::Array(array) => self.array(array)?,
            Node::ArrayDtype(dtype) => py.import("numpy")?.getattr("dtype")?.call1((&**dtype,))?,
            other => return Err(unfit(other.type_name())),
        })
    }

    fn torch(&mut self) -> PyResult<Use<'py>> {
        if let Some(torch) = self.torch {
            return Ok(torch);
        }
        let torch = Torch::get(self.py)?;
        self.torch = Some(torch);
        Ok(torch)
    }

    fn dtype(&mut self, dtype: ckpt::Dtype) -> PyResult<Bound<'py, PyAny>> {
        let found = self.torch()?.dtype(dtype).cloned();
        found.ok_or_else(|| unfit(&format!("torch.{}, which this PyTorch lacks", dtype.torch_name())))
    }

    fn map(&mut self, kind: MapKind, map: Option<&Map>) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let made = match kind {
            MapKind::Dict => PyDict::new(py).into_any(),
            MapKind::OrderedDict => py.import("collections")?.getattr("OrderedDict")?.call0()?,
            MapKind::Counter => py.import("collections")?.getattr("Counter")?.call0()?,
        };
        let Some(map) = map else { return Ok(made) };
        for (key, value) in &map.entries {
            let (key, value) = (self.value(*key)?, self.value(*value)?);
            made.set_item(key, value)?;
        }
        if let Some(attributes) = map.attributes {
            let attributes = self.value(attributes)?;
            made.getattr("__dict__")?.call_method1("update", (attributes,))?;
        }
        Ok(made)
    }

    fn tensor(&mut self, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
        if tensor.attributes.is_some() {
            return Err(unfit("a tensor with attributes of its own"));
        }
        let (torch, dtype) = (self.torch()?, self.dtype(tensor.dtype)?);
        let mut made = match &tensor.body {
            Body::Strided { storage, offset, strides, quantizer: None } => {
                let storage = self.storage(*storage)?;
                torch.view(&storage, &dtype, (*offset, &tensor.shape, strides), self.device)?
            }
            Body::Meta => torch.without_elements(&dtype, &tensor.shape)?,
            _ => return Err(unfit("a tensor that is sparse, nested or quantized")),
        };
        if tensor.conjugated {
            made = made.call_method0("conj")?;
        }
        if tensor.negated {
            made = made.call_method0("_neg_view")?;
        }
        if tensor.parameter {
            return torch.make_parameter(&made, tensor.requires_grad);
        }
        if tensor.requires_grad {
            made.call_method1("requires_grad_", (true,))?;
        }
        Ok(made)
    }

    /// Returns a storage: the one that it was loaded into, or a copy.
    fn storage(&mut self, id: StorageId) -> PyResult<Bound<'py, PyAny>> {
        if let Some(made) = self.storages.get(&id) {
            return Ok(made.clone());
        }
        let data = self.state.data(id).ok_or_else(|| unfit("a tensor without elements"))?;
        let own = data.as_any().and_then(|any| any.downcast_ref::<Memory>());
        let storage = match own {
            Some(memory) => memory.owner().bind(self.py).clone(),
            None => copied(self.torch()?, data)?,
        };
        let storage = match self.device {
            Some(device) => self.torch()?.moved(&storage, device)?,
            None => storage,
        };
        self.storages.insert(id, storage.clone());
        Ok(storage)
    }

    fn array(&mut self, array: &Array) -> PyResult<Bound<'py, PyAny>> {
        let ArrayData::Bytes(bytes) = array.data else { return Err(unfit("a NumPy array of objects")) };
        numpy::make(self.value(bytes)?, (&array.dtype, &array.shape), (array.fortran, array.scalar))
    }
}

/// Copies bytes to a storage of their own.
fn copied<'py>(torch: Use<'py>, data: &Data<'_>) -> PyResult<Bound<'py, PyAny>> {
    let bytes = data.bytes().map_err(|error| crate::errors::raise(torch.py, &error))?.unwrap_or_default();
    let storage = torch.empty_storage(bytes.len())?;
    let mut memory = Memory::of(&storage)?;
    ckpt::tensor::HostMemory::bytes_mut(&mut memory).copy_from_slice(bytes);
    Ok(storage)
}

fn unfit(what: &str) -> PyErr {
    Unfit::new_err((String::new(), what.to_owned()))
}

fn big_integer<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let keywords = PyDict::new(py);
    keywords.set_item("signed", true)?;
    py.get_type::<PyInt>().call_method("from_bytes", (PyBytes::new(py, bytes), "little"), Some(&keywords))
}

fn surrogates<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    PyBytes::new(py, bytes).call_method1("decode", ("utf-8", "surrogatepass"))
}
