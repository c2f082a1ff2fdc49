//! The variables of a store: into a state, and back.

use std::borrow::Cow;
use std::collections::HashMap;

use tch::Tensor;
use tch::nn::VarStore;

use super::tensor::{Elements, dtype, view_of};
use super::{ffi, kind};
use crate::Error;
use crate::tensor::{Data, RestoreOptions, Restored, State, TensorSource, Value, Wanted, match_tensors};

/// Returns all variables of a store, trainable or not, as a map of names to tensors, in the order of the names.
///
/// Variables that have the same elements (tied weights) go on sharing them. Where one is another's transposed,
/// or a part of it, each has elements of its own.
///
/// The map has the memory of the variables, not a copy: see the [room's documentation](crate::tch).
///
/// # Errors
///
/// A variable has elements that checkpoints have not, such as quantized ones; the message names it.
pub fn variables(store: &VarStore) -> Result<Value<'_>, Error> {
    let mut known: HashMap<Place, Data<'static>> = HashMap::new();
    let mut entries = Vec::new();
    for (name, tensor) in sorted(store) {
        let view = shared(&tensor, &mut known).map_err(|error| of_variable(&name, &error))?;
        entries.push((name, view));
    }
    Ok(entries.into_iter().collect())
}

/// Where elements are: which memory, how much of it, of which device and type.
type Place = (usize, u64, i8, i8, i32);

/// Takes a tensor, with the elements of one that has the same.
fn shared(tensor: &Tensor, known: &mut HashMap<Place, Data<'static>>) -> Result<Value<'static>, Error> {
    let facts = ffi::describe(tensor)?;
    let place = (facts.address(), facts.len, facts.device_type, facts.device_index, facts.kind);
    if facts.len == 0 {
        return Ok(view_of(tensor, Elements::of(tensor)?.data())?.into());
    }
    let data = match known.get(&place) {
        Some(data) => data.clone(),
        None => known.entry(place).or_insert(Elements::of(tensor)?.data()).clone(),
    };
    Ok(view_of(tensor, data)?.into())
}

/// Gives the variables of a store the elements that a state has for them: all, or where anything doesn't fit,
/// none.
///
/// `prefix` is the key that the variables were put under, empty for the top level. Names, shapes and dtypes
/// are compared first, then all elements are read, and only then variables change, in place and without
/// gradients. What else than equality is allowed, the options say, and the result reports.
///
/// # Errors
///
/// Something doesn't fit, or the state's bytes can't be had: no variable was changed. Where a device fails while
/// elements are copied to it, the message says so: then some are.
pub fn restore_variables(
    store: &mut VarStore,
    state: &State<'_>,
    prefix: &str,
    options: RestoreOptions,
) -> Result<Restored, Error> {
    plan(store, state, prefix, options)?.apply()
}

/// What a state has for the variables of a store: it fits, and was read.
pub(super) struct Planned<'s> {
    fills: Vec<(String, Tensor, i32, Cow<'s, [u8]>)>,
    report: Restored,
}

/// Finds and reads what a state has for the variables of a store, and changes nothing.
pub(super) fn plan<'s>(
    store: &VarStore,
    state: &'s State<'s>,
    prefix: &str,
    options: RestoreOptions,
) -> Result<Planned<'s>, Error> {
    let variables = sorted(store);
    let wanted = variables.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
    let matched = match_tensors(state, prefix, &wanted, options)?;
    let mut fills = Vec::with_capacity(variables.len());
    for ((name, tensor), found) in variables.into_iter().zip(&matched.tensors) {
        let Some(found) = found else { continue };
        let number = kind::number_of(found.dtype()).ok_or_else(|| {
            Error::usage(format!("variable '{name}': libtorch has no elements of dtype {}", found.dtype()))
        })?;
        fills.push((name, tensor, number, found.bytes()?));
    }
    Ok(Planned { fills, report: matched.report })
}

impl Planned<'_> {
    /// Gives the variables what was read.
    pub(super) fn apply(self) -> Result<Restored, Error> {
        for (name, tensor, number, bytes) in self.fills {
            let filled = ffi::fill(&tensor, number, &bytes);
            filled.map_err(|error| {
                of_variable(&name, &error).with_note("variables before it in order were changed")
            })?;
        }
        Ok(self.report)
    }
}

fn wanted((name, tensor): &(String, Tensor)) -> Result<Wanted, Error> {
    let dtype = ffi::describe(tensor).and_then(|facts| dtype(&facts));
    let dtype = dtype.map_err(|error| of_variable(name, &error))?;
    Ok(Wanted { name: name.clone(), dtype, shape: tensor.shape() })
}

/// Returns the variables in the order of their names: that of the store's map is another each time.
fn sorted(store: &VarStore) -> Vec<(String, Tensor)> {
    let mut variables: Vec<_> = store.variables().into_iter().collect();
    variables.sort_by(|one, other| one.0.cmp(&other.0));
    variables
}

fn of_variable(name: &str, error: &Error) -> Error {
    Error::usage(format!("variable '{}': {error}", name.escape_debug()))
}
