//! The state of an optimizer, as Python's `optimizer.state_dict()` has it.
//!
//! `{"state": {0: {"step": …, "exp_avg": …}, …}, "param_groups": [{"lr": …, "params": [0, 1], "param_names": […]}]}`:
//! variables are numbers there, and the groups say of which names, as Python's do that are made of
//! `named_parameters()`.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::super::{ffi, kind, view};
use super::group::Variable;
use super::rule::{Rule, STEP, Slots, of_torch};
use super::{Group, Optimizer};
use crate::record::{Code, Finding, Level, quoted};
use crate::tensor::{Node, State, TensorRef, TensorSource, Value};
use crate::{Dtype, Error};

/// Which variables a group of Python's has.
#[derive(serde::Deserialize)]
struct Members {
    /// Their numbers.
    params: Vec<i64>,
    /// Their names, unless the optimizer was made without.
    param_names: Option<Vec<String>>,
}

/// What a state has for an optimizer: it fits, and is ready to be put in its place.
#[derive(Debug)]
pub(in super::super) struct Loaded<R> {
    /// For each group its rule, and for each variable of it the slots.
    groups: Vec<(R, Vec<Slots>)>,
}

impl<R: Rule> Optimizer<R> {
    /// Returns the state: what Python's `optimizer.load_state_dict()` takes.
    ///
    /// It has the memory of the optimizer's tensors, not a copy: see the [room's documentation](crate::tch).
    ///
    /// # Errors
    ///
    /// A tensor has elements that checkpoints have not.
    pub fn value(&self) -> Result<Value<'_>, Error> {
        let mut number = 0_i64;
        let (mut slots, mut groups) = (Vec::new(), Vec::new());
        for group in &self.groups {
            let first = number;
            for variable in &group.variables {
                if !variable.slots.is_empty() {
                    slots.push((Value::from(number), value_of(&variable.slots)?));
                }
                number += 1;
            }
            let names = group.names().map(Value::from).collect();
            let mut entries = group.rule.entries();
            entries.push(("params", Value::List((first..number).map(Value::from).collect())));
            entries.push(("param_names", Value::List(names)));
            groups.push(Value::from_iter(entries));
        }
        Ok(Value::from_iter([("state", Value::Map(slots)), ("param_groups", Value::List(groups))]))
    }

    /// Takes over the state at a path: moments, steps, and hyperparameters, those of each group.
    ///
    /// Variables are found by their names; where the state has none (a Python optimizer that was made of
    /// `parameters()`), by their order. Whatever doesn't fit is found before anything is changed.
    ///
    /// # Errors
    ///
    /// Groups, names, shapes or dtypes aren't those of the optimizer, the state is one of another optimizer, or its
    /// bytes can't be had: nothing was changed.
    pub fn restore(&mut self, state: &State<'_>, path: &str) -> Result<(), Error> {
        let loaded = self.prepare(state, path)?;
        self.apply(loaded);
        Ok(())
    }

    /// Reads what a state has for the optimizer, and changes nothing.
    pub(in super::super) fn prepare(&self, state: &State<'_>, path: &str) -> Result<Loaded<R>, Error> {
        let groups_path = format!("{path}.param_groups");
        let count = match state.value(&groups_path) {
            Some(Node::List(groups)) => groups.len(),
            _ => return Err(unfit(Code::KeyMissing, path, "no state of an optimizer is here")),
        };
        if count != self.groups.len() {
            let message = format!("the state has {count} groups, and the optimizer {}", self.groups.len());
            return Err(unfit(Code::ValueMismatch, &groups_path, message));
        }
        let load = |(index, group)| Self::load_group(group, state, path, &format!("{groups_path}.{index}"));
        let groups = self.groups.iter().enumerate().map(load).collect::<Result<_, _>>()?;
        Ok(Loaded { groups })
    }

    /// Puts in its place what was read.
    pub(in super::super) fn apply(&mut self, loaded: Loaded<R>) {
        for (group, (rule, slots)) in self.groups.iter_mut().zip(loaded.groups) {
            group.rule = rule;
            for (variable, slots) in group.variables.iter_mut().zip(slots) {
                variable.slots = slots;
            }
        }
    }

    fn load_group(
        group: &Group<R>,
        state: &State<'_>,
        path: &str,
        group_path: &str,
    ) -> Result<(R, Vec<Slots>), Error> {
        let rule = group.rule.read(state, group_path)?;
        let checked = rule.check();
        checked.map_err(|error| unfit(Code::ValueMismatch, group_path, error.to_string()))?;
        let numbers = numbers(group, state.decode(group_path)?, group_path)?;
        let load = |(variable, number)| {
            let path = format!("{path}.state.{number}");
            load_slots(variable, &rule.slots(), state, &path)
        };
        let slots = group.variables.iter().zip(numbers).map(load).collect::<Result<_, _>>()?;
        Ok((rule, slots))
    }
}

fn unfit(code: Code, path: &str, message: impl Into<String>) -> Error {
    Error::of(Finding::incompatible(code, Level::Keys, message).at_key(path))
}

fn value_of(slots: &Slots) -> Result<Value<'_>, Error> {
    let mut entries = Vec::new();
    for (name, tensor) in slots.iter() {
        entries.push((*name, view(tensor)?.into()));
    }
    Ok(entries.into_iter().collect())
}

/// Returns the numbers that a state has for the variables of a group, in their order here.
fn numbers<R: Rule>(group: &Group<R>, members: Members, path: &str) -> Result<Vec<i64>, Error> {
    let (here, there) = (group.variables.len(), members.params.len());
    if here != there {
        let message = format!("the state's group has {there} variables, and the optimizer's {here}");
        return Err(unfit(Code::ValueMismatch, path, message));
    }
    let Some(names) = members.param_names else { return Ok(members.params) };
    if names.len() != there {
        return Err(unfit(Code::ValueMismatch, path, "the state's group has not as many names as variables"));
    }
    let known: HashMap<_, _> = names.iter().map(String::as_str).zip(members.params).collect();
    let number = |name: &str| {
        let missing = || format!("the state's group hasn't {}", quoted(name));
        known.get(name).copied().ok_or_else(|| unfit(Code::KeyMissing, path, missing()))
    };
    group.names().map(number).collect()
}

/// Makes the slots of a variable of what a state has at a path; none where it has nothing.
fn load_slots(
    variable: &Variable,
    wanted: &[&'static str],
    state: &State<'_>,
    path: &str,
) -> Result<Slots, Error> {
    let mut slots = Slots::default();
    let entries = match state.value(path) {
        None => return Ok(slots),
        Some(Node::Map(_, map)) => map.as_deref().map(|map| map.entries.as_slice()).unwrap_or_default(),
        Some(_) => return Err(unfit(Code::ValueMismatch, path, "what is kept of a variable is no map")),
    };
    for (key, value) in entries {
        let name = state.tree().node(*key).as_str().unwrap_or_default();
        // Python's SGD has such an entry where it keeps nothing.
        let is_none = matches!(state.tree().node(*value), Node::None);
        if !is_none && !wanted.contains(&name) {
            let message = format!("the optimizer keeps no {} of a variable", quoted(name));
            return Err(unfit(Code::KeyUnexpected, path, message));
        }
    }
    for name in wanted {
        let path = format!("{path}.{name}");
        match state.tensor(&path) {
            Some(found) => slots.push(name, load_slot(variable, name, &found, &path)?),
            None if matches!(state.value(&path), Some(Node::None)) => {}
            None => return Err(unfit(Code::KeyMissing, &path, "the state has no such tensor")),
        }
    }
    Ok(slots)
}

/// Makes a tensor of what a state has for a slot: as large as the variable, and where that is.
fn load_slot(variable: &Variable, name: &str, found: &TensorRef<'_>, path: &str) -> Result<Tensor, Error> {
    let (has, shape) = (found.dtype(), found.shape());
    let slot = if name == STEP {
        let kind = match has {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            _ => return Err(unfit(Code::DtypeMismatch, path, format!("steps are counted in {has}"))),
        };
        Tensor::f_zeros(&[] as &[i64], (kind, tch::Device::Cpu))
    } else {
        variable.tensor.f_zeros_like().map(|zeros| zeros.set_requires_grad(false))
    };
    let slot = slot.map_err(of_torch)?;
    if slot.shape() != shape {
        let message = format!("the state has the shape {shape:?}, and the optimizer {:?}", slot.shape());
        return Err(unfit(Code::ShapeMismatch, path, message));
    }
    let wants = slot.dtype()?;
    let number = kind::number_of(has).filter(|_| has == wants);
    let number = number.ok_or_else(|| {
        let message = format!("the state has the dtype {has}, and the optimizer {wants}");
        unfit(Code::DtypeMismatch, path, message)
    })?;
    ffi::fill(&slot, number, &found.bytes()?)?;
    Ok(slot)
}
