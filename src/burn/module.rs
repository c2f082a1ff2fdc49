use std::collections::HashMap;

use burn_core::module::{Module, ModuleMapper, Param};
use burn_core::tensor::backend::Backend;
use burn_core::tensor::{BasicOps, Bool, Int, Tensor, TensorData, TensorKind};

use super::dtype::ours;
use super::survey::{Entry, Path, survey};
use super::tensor::to_data;
use crate::Error;
use crate::tensor::{RestoreOptions, Restored, State, Value, Wanted, match_tensors};

/// Copies the parameters of a module, and what it keeps while it runs (the means of a batch norm), by the names of
/// their fields: `layers.0.weight`.
///
/// # Errors
///
/// A tensor has a type that no checkpoint holds (a quantized one), or can't be read.
pub fn module_value<B: Backend, M: Module<B>>(module: &M) -> Result<Value<'static>, Error> {
    let entries = survey(module, true)?;
    let value = |entry: Entry| entry.view.map(|view| (Value::from(entry.name), Value::from(view)));
    Ok(Value::Map(entries.into_iter().filter_map(value).collect()))
}

/// Gives a module the elements that a state has under `prefix`, such as `model`.
///
/// Names, shapes and types are held against one another first, and all elements are read and converted: only then
/// is the module replaced by one that has them. It keeps its devices, and which parameters are trained. Its
/// parameters keep the ids that optimizers know them by.
///
/// # Errors
///
/// Something differs, and the options don't allow it; or a tensor can't be read. The module is as it was then.
pub fn restore_module<B: Backend, M: Module<B>>(
    module: &mut M,
    state: &State<'_>,
    prefix: &str,
    options: RestoreOptions,
) -> Result<Restored, Error> {
    let entries = survey(module, false)?;
    let wanted: Result<Vec<Wanted>, Error> = entries.iter().map(wanted).collect();
    let matched = match_tensors(state, prefix, &wanted?, options)?;
    let mut ready = HashMap::new();
    for (entry, found) in entries.iter().zip(&matched.tensors) {
        if let Some(found) = found {
            ready.insert(entry.name.clone(), to_data(found, entry.dtype).map_err(|error| of(entry, &error))?);
        }
    }
    *module = module.clone().map(&mut Filler { ready, path: Path::default() });
    Ok(matched.report)
}

/// What a parameter asks of a state.
fn wanted(entry: &Entry) -> Result<Wanted, Error> {
    let dtype = ours(entry.dtype).map_err(|error| of(entry, &error))?;
    Ok(Wanted { name: entry.name.clone(), dtype, shape: entry.shape.clone() })
}

/// Says of which parameter an error is.
fn of(entry: &Entry, error: &Error) -> Error {
    Error::usage(format!("the parameter '{}': {error}", entry.name.escape_debug()))
}

/// Puts the elements that are ready in their places. Nothing can fail any more: all of them fit.
struct Filler {
    ready: HashMap<String, TensorData>,
    path: Path,
}

impl Filler {
    /// Makes the tensor that takes another's place; none where that one stays.
    fn instead<B, const D: usize, K>(&mut self, old: &Tensor<B, D, K>) -> Option<Tensor<B, D, K>>
    where
        B: Backend,
        K: TensorKind<B> + BasicOps<B>,
    {
        let data = self.ready.remove(&self.path.name())?;
        Some(Tensor::from_data(data, (&old.device(), old.dtype())))
    }
}

impl<B: Backend> ModuleMapper<B> for Filler {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, old, mapper) = param.consume();
        let is_trained = old.is_require_grad();
        let new = self.instead(&old).map(|new| new.set_require_grad(is_trained));
        Param::from_mapped_value(id, new.unwrap_or(old), mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        let (id, old, mapper) = param.consume();
        Param::from_mapped_value(id, self.instead(&old).unwrap_or(old), mapper)
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        let (id, old, mapper) = param.consume();
        Param::from_mapped_value(id, self.instead(&old).unwrap_or(old), mapper)
    }
}
