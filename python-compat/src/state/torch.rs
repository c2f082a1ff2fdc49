//! The few things of PyTorch that are needed, looked up once.

use std::collections::HashMap;

use ckpt::Dtype;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// PyTorch's types and functions.
#[derive(Debug)]
pub(crate) struct Torch {
    tensor: Py<PyAny>,
    parameter: Py<PyAny>,
    strided: Py<PyAny>,
    untyped: Py<PyAny>,
    empty: Py<PyAny>,
    size: Py<PyAny>,
    dtype: Py<PyAny>,
    device: Py<PyAny>,
    /// By the address of the object, which lives as long as PyTorch does.
    to_dtype: HashMap<usize, Dtype>,
    of_dtype: HashMap<Dtype, Py<PyAny>>,
}

/// PyTorch, for as long as the interpreter is held.
#[derive(Clone, Copy)]
pub(crate) struct Use<'py> {
    pub(crate) py: Python<'py>,
    torch: &'py Torch,
}

impl Torch {
    /// Returns PyTorch, and imports it the first time.
    pub(crate) fn get(py: Python<'_>) -> PyResult<Use<'_>> {
        static TORCH: PyOnceLock<Torch> = PyOnceLock::new();
        let torch = TORCH.get_or_try_init(py, || Self::new(py))?;
        Ok(Use { py, torch })
    }

    /// Returns PyTorch if somebody has imported it: without, there are no tensors.
    pub(crate) fn loaded(py: Python<'_>) -> PyResult<Option<Use<'_>>> {
        if is_imported(py, "torch")? { Self::get(py).map(Some) } else { Ok(None) }
    }

    fn new(py: Python<'_>) -> PyResult<Self> {
        let torch = py.import("torch")?;
        let item = |name: &str| torch.getattr(name).map(Bound::unbind);
        let (mut to_dtype, mut of_dtype) = (HashMap::new(), HashMap::new());
        // An older PyTorch lacks some: no tensor has them then.
        for dtype in Dtype::ALL {
            if let Ok(object) = torch.getattr(dtype.torch_name()) {
                to_dtype.insert(object.as_ptr().addr(), *dtype);
                of_dtype.insert(*dtype, object.unbind());
            }
        }
        Ok(Self {
            tensor: item("Tensor")?,
            parameter: torch.getattr("nn")?.getattr("Parameter")?.unbind(),
            strided: item("strided")?,
            untyped: item("UntypedStorage")?,
            empty: item("empty")?,
            size: item("Size")?,
            dtype: item("dtype")?,
            device: item("device")?,
            to_dtype,
            of_dtype,
        })
    }
}

/// Returns whether somebody has imported a package.
pub(super) fn is_imported(py: Python<'_>, name: &str) -> PyResult<bool> {
    let modules = py.import("sys")?.getattr("modules")?;
    // `None` is there where the import is forbidden.
    Ok(!modules.call_method1("get", (name,))?.is_none())
}

impl<'py> Use<'py> {
    pub(crate) fn is_tensor(self, kind: &Bound<'py, PyAny>) -> bool {
        kind.is(&self.torch.tensor)
    }

    /// Returns whether a value is a tensor, of whatever class.
    pub(crate) fn is_any_tensor(self, value: &Bound<'py, PyAny>) -> PyResult<bool> {
        value.is_instance(self.torch.tensor.bind(self.py))
    }

    pub(crate) fn is_parameter(self, kind: &Bound<'py, PyAny>) -> bool {
        kind.is(&self.torch.parameter)
    }

    pub(crate) fn is_size(self, kind: &Bound<'py, PyAny>) -> bool {
        kind.is(&self.torch.size)
    }

    pub(crate) fn is_dtype(self, kind: &Bound<'py, PyAny>) -> bool {
        kind.is(&self.torch.dtype)
    }

    pub(crate) fn is_device(self, kind: &Bound<'py, PyAny>) -> bool {
        kind.is(&self.torch.device)
    }

    pub(crate) fn is_strided(self, layout: &Bound<'py, PyAny>) -> bool {
        layout.is(&self.torch.strided)
    }

    /// Returns the type of elements that one of PyTorch's dtypes is.
    pub(crate) fn dtype_of(self, dtype: &Bound<'py, PyAny>) -> Option<Dtype> {
        self.torch.to_dtype.get(&dtype.as_ptr().addr()).copied()
    }

    /// Returns PyTorch's dtype; none where this PyTorch is too old for it.
    pub(crate) fn dtype(self, dtype: Dtype) -> Option<&'py Bound<'py, PyAny>> {
        Some(self.torch.of_dtype.get(&dtype)?.bind(self.py))
    }

    pub(crate) fn size(self, lengths: &[i64]) -> PyResult<Bound<'py, PyAny>> {
        self.torch.size.bind(self.py).call1((lengths.to_vec(),))
    }

    pub(crate) fn device(self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.torch.device.bind(self.py).call1((name,))
    }

    /// Makes a storage on the host, whose bytes are whatever they are.
    pub(crate) fn empty_storage(self, len: usize) -> PyResult<Bound<'py, PyAny>> {
        self.torch.untyped.bind(self.py).call1((len,))
    }

    /// Copies a storage to a device; to the meta device, its size alone.
    pub(crate) fn moved(
        self,
        storage: &Bound<'py, PyAny>,
        device: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let keywords = pyo3::types::PyDict::new(self.py);
        keywords.set_item(pyo3::intern!(self.py, "device"), device)?;
        if device.getattr("type")?.extract::<&str>()? == "meta" {
            let len = storage.call_method0("nbytes")?;
            return self.torch.untyped.bind(self.py).call((len,), Some(&keywords));
        }
        storage.call_method(pyo3::intern!(self.py, "to"), (), Some(&keywords))
    }

    /// Makes a tensor on the meta device: a dtype and a shape.
    pub(crate) fn without_elements(
        self,
        dtype: &Bound<'py, PyAny>,
        shape: &[u64],
    ) -> PyResult<Bound<'py, PyAny>> {
        let keywords = pyo3::types::PyDict::new(self.py);
        keywords.set_item(pyo3::intern!(self.py, "dtype"), dtype)?;
        keywords.set_item(pyo3::intern!(self.py, "device"), pyo3::intern!(self.py, "meta"))?;
        self.torch.empty.bind(self.py).call((shape.to_vec(),), Some(&keywords))
    }

    /// Makes a tensor that sees a storage, which is on the device; none is the host.
    pub(crate) fn view(
        self,
        storage: &Bound<'py, PyAny>,
        dtype: &Bound<'py, PyAny>,
        (offset, shape, strides): (u64, &[u64], &[u64]),
        device: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let keywords = pyo3::types::PyDict::new(self.py);
        keywords.set_item(pyo3::intern!(self.py, "dtype"), dtype)?;
        if let Some(device) = device {
            keywords.set_item(pyo3::intern!(self.py, "device"), device)?;
        }
        let empty = self.torch.empty.bind(self.py).call((0,), Some(&keywords))?;
        empty.call_method1(pyo3::intern!(self.py, "set_"), (storage, offset, shape, strides))
    }

    /// Makes a `torch.nn.Parameter`.
    pub(crate) fn make_parameter(
        self,
        tensor: &Bound<'py, PyAny>,
        requires_grad: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.torch.parameter.bind(self.py).call1((tensor, requires_grad))
    }
}
