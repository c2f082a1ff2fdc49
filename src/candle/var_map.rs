use std::collections::BTreeMap;
use std::sync::PoisonError;

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;

use super::dtype::ours;
use super::failed;
use super::tensor::from_bytes;
use crate::Error;
use crate::tensor::{
    RestoreOptions, Restored, State, TensorRef, TensorSource, TensorView, Value, Wanted, match_tensors,
};

/// Copies the variables of a map, by their names and in the order of these.
///
/// # Errors
///
/// A variable has a type whose elements can't be saved, or its device fails.
pub fn var_map_value(map: &VarMap) -> Result<Value<'static>, Error> {
    let mut entries = Vec::new();
    for (name, var) in variables(map) {
        let (dtype, shape) = (ours(var.dtype()), TensorSource::shape(var.as_tensor()));
        let view = dtype.and_then(|dtype| TensorView::new(dtype, shape, super::tensor::to_bytes(&var)?));
        entries.push((Value::from(name.as_str()), Value::from(view.map_err(|error| of(&name, &error))?)));
    }
    Ok(Value::Map(entries))
}

/// Gives the variables of a map the elements that a state has under `prefix`, such as `model`.
///
/// Names, shapes and types are held against one another first, and all tensors are made on their devices: only
/// then is the first variable written to. A variable stays the one it is, so that a model that was built from the
/// map has the new elements.
///
/// # Errors
///
/// Something differs, and the options don't allow it; or a device fails. No variable has changed then, unless it
/// was the device that failed while it copied.
pub fn restore_var_map(
    map: &VarMap,
    state: &State<'_>,
    prefix: &str,
    options: RestoreOptions,
) -> Result<Restored, Error> {
    let variables = variables(map);
    let mut wanted = Vec::with_capacity(variables.len());
    for (name, var) in &variables {
        let dtype = ours(var.dtype()).map_err(|error| of(name, &error))?;
        wanted.push(Wanted { name: name.clone(), dtype, shape: TensorSource::shape(var.as_tensor()) });
    }
    let matched = match_tensors(state, prefix, &wanted, options)?;
    let mut ready = Vec::with_capacity(variables.len());
    for ((name, var), found) in variables.iter().zip(&matched.tensors) {
        if let Some(found) = found {
            ready.push((name, var, converted(found, var).map_err(|error| of(name, &error))?));
        }
    }
    for (name, var, tensor) in ready {
        var.set(&tensor).map_err(|error| of(name, &failed("set the variable", &error)))?;
    }
    Ok(matched.report)
}

/// Makes what a variable is to be: of its type, and on its device.
fn converted(found: &TensorRef<'_>, var: &Var) -> Result<Tensor, Error> {
    if !var.is_contiguous() {
        return Err(Error::usage("the variable isn't contiguous, and candle sets no such variable"));
    }
    let tensor = from_bytes(&found.bytes()?, found.dtype(), found.shape(), &Device::Cpu)?;
    let tensor = tensor.to_dtype(var.dtype()).and_then(|tensor| tensor.to_device(var.device()));
    tensor.map_err(|error| failed("convert the tensor", &error))
}

/// Returns the variables by name. They share their elements with the map's.
fn variables(map: &VarMap) -> BTreeMap<String, Var> {
    let data = map.data().lock().unwrap_or_else(PoisonError::into_inner);
    data.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
}

/// Says of which variable an error is.
fn of(name: &str, error: &Error) -> Error {
    Error::usage(format!("the variable '{}': {error}", name.escape_debug()))
}
