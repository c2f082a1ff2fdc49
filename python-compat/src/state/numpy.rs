//! NumPy's arrays and scalars, as a state has them.
//!
//! A state of its own kind of values: their bytes stand in the structure of a file and not among its tensors. That is
//! right for the state of a random generator, and wrong for data.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::torch::is_imported;

/// The most bytes of an array: they stand in a file's header, a third longer.
const MAX_BYTES: usize = 1 << 20;

/// The kinds of elements that are bytes and nothing else: no objects, and no records.
const PLAIN_KINDS: &str = "biufcSUMm";

/// NumPy's classes.
#[derive(Clone, Debug)]
pub(crate) struct Numpy<'py> {
    array: Bound<'py, PyAny>,
    scalar: Bound<'py, PyAny>,
}

/// An array or a scalar, taken apart.
#[derive(Debug)]
pub(crate) struct Taken<'py> {
    /// Byte order, kind and item size: `<f8`.
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    /// Whether the first index changes fastest.
    pub(crate) fortran: bool,
    /// Whether it is a scalar and no array.
    pub(crate) scalar: bool,
    pub(crate) bytes: Bound<'py, PyBytes>,
}

impl<'py> Numpy<'py> {
    /// Returns NumPy if somebody has imported it: without, there are no arrays.
    pub(crate) fn loaded(py: Python<'py>) -> PyResult<Option<Self>> {
        if !is_imported(py, "numpy")? {
            return Ok(None);
        }
        let numpy = py.import("numpy")?;
        Ok(Some(Self { array: numpy.getattr("ndarray")?, scalar: numpy.getattr("generic")? }))
    }

    /// Returns whether a value is an array (and of no class of its own) or a scalar.
    pub(crate) fn knows(&self, value: &Bound<'py, PyAny>) -> PyResult<bool> {
        Ok(value.get_type().is(&self.array) || value.is_instance(&self.scalar)?)
    }

    /// Takes an array or a scalar apart; or says why no state can hold it.
    pub(crate) fn take(&self, value: &Bound<'py, PyAny>) -> PyResult<Result<Taken<'py>, String>> {
        let dtype = value.getattr("dtype")?;
        let kind: String = dtype.getattr("kind")?.extract()?;
        if !PLAIN_KINDS.contains(&kind) {
            return Ok(Err(format!("a NumPy array of {dtype}")));
        }
        let len: usize = value.getattr("nbytes")?.extract()?;
        if len > MAX_BYTES {
            let remedy = "make a tensor of it, with torch.from_numpy";
            return Ok(Err(format!(
                "a NumPy array of {len} bytes, where {MAX_BYTES} are the most ({remedy})"
            )));
        }
        let flags = value.getattr("flags")?;
        let is = |name| flags.getattr(name)?.is_truthy();
        let fortran = is("f_contiguous")? && !is("c_contiguous")?;
        let bytes = value.call_method1("tobytes", (if fortran { "F" } else { "C" },))?;
        Ok(Ok(Taken {
            dtype: dtype.getattr("str")?.extract()?,
            shape: value.getattr("shape")?.extract()?,
            fortran,
            scalar: !value.get_type().is(&self.array),
            bytes: bytes.cast_into::<PyBytes>()?,
        }))
    }
}

/// Makes an array or a scalar of its parts: with memory of its own, which can be written to.
pub(crate) fn make<'py>(
    bytes: Bound<'py, PyAny>,
    (dtype, shape): (&str, &[u64]),
    (fortran, scalar): (bool, bool),
) -> PyResult<Bound<'py, PyAny>> {
    let py = bytes.py();
    let order = if fortran { "F" } else { "C" };
    let keywords = PyDict::new(py);
    keywords.set_item("dtype", dtype)?;
    keywords.set_item("buffer", bytes)?;
    keywords.set_item("order", order)?;
    let seen = py.import("numpy")?.getattr("ndarray")?.call((shape.to_vec(),), Some(&keywords))?;
    // An empty key takes the one element of an array without dimensions.
    if scalar { seen.get_item(()) } else { seen.call_method1("copy", (order,)) }
}
