//! What the optimizers have in common: slots beside each variable, and rules that change both.

use tch::{TchError, Tensor};

use super::super::arithmetic::add_;
use crate::Error;
use crate::tensor::{State, Value};

/// How the variables of a group change: the hyperparameters of an optimizer.
///
/// This is [`Sgd`](super::Sgd) and [`Adam`](super::Adam), and nothing else: the state of others is another.
pub trait Rule: sealed::Rule + Clone + std::fmt::Debug {
    /// Sets the learning rate.
    fn set_lr(&mut self, lr: f64);
}

pub(super) mod sealed {
    use super::{Error, Slots, State, Tensor, Value};

    /// What an optimizer knows of its rule.
    pub trait Rule: Sized {
        /// Says which hyperparameter is out of its range.
        fn check(&self) -> Result<(), Error>;

        /// Changes a variable by its gradient, and the slots beside it.
        fn update(&self, variable: &Tensor, gradient: &Tensor, slots: &mut Slots) -> Result<(), Error>;

        /// Returns the names of the slots that a variable has once it changed.
        fn slots(&self) -> Vec<&'static str>;

        /// Returns the hyperparameters under the names that Python has for them, in Python's order.
        fn entries(&self) -> Vec<(&'static str, Value<'static>)>;

        /// Reads the hyperparameters at a path. What a file may lack is as it is here.
        fn read(&self, state: &State<'_>, path: &str) -> Result<Self, Error>;
    }
}

/// The name of the slot that counts steps: a number, where others are as large as their variable.
pub(super) const STEP: &str = "step";

/// What an optimizer keeps beside a variable: tensors by name, in Python's order. None until the first step.
#[derive(Debug, Default)]
pub struct Slots(Vec<(&'static str, Tensor)>);

impl Slots {
    /// Returns whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(&'static str, Tensor)> {
        self.0.iter()
    }

    /// Returns a slot: another handle of the same tensor.
    pub(super) fn get(&self, name: &str) -> Option<Tensor> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, tensor)| tensor.shallow_clone())
    }

    /// Adds a slot that isn't there.
    pub(super) fn push(&mut self, name: &'static str, tensor: Tensor) {
        self.0.push((name, tensor));
    }

    /// Returns a slot, made where it isn't there.
    pub(super) fn get_or(
        &mut self,
        name: &'static str,
        make: impl FnOnce() -> Result<Tensor, TchError>,
    ) -> Result<Tensor, Error> {
        if let Some(slot) = self.get(name) {
            return Ok(slot);
        }
        let slot = make().map_err(of_torch)?;
        self.push(name, slot.shallow_clone());
        Ok(slot)
    }
}

/// Returns `one + alpha * two`: Python's `one.add(two, alpha=alpha)`.
pub(super) fn added(one: &Tensor, two: &Tensor, alpha: f64) -> Result<Tensor, Error> {
    let mut sum = one.f_detach_copy().map_err(of_torch)?;
    add_(&mut sum, two, alpha)?;
    Ok(sum)
}

/// Says that a hyperparameter is out of its range, unless it isn't.
pub(super) fn in_range(name: &str, value: f64, fits: bool) -> Result<(), Error> {
    if fits { Ok(()) } else { Err(Error::usage(format!("{name} can't be {value}"))) }
}

/// Leaves out what an operation in place returns: another handle of the tensor that it changed.
pub(super) fn done(result: Result<Tensor, TchError>) -> Result<(), Error> {
    result.map(drop).map_err(of_torch)
}

/// Takes an error of libtorch, without the trace behind its first line.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
pub(super) fn of_torch(error: TchError) -> Error {
    let text = error.to_string();
    Error::usage(format!("libtorch: {}", text.lines().next().unwrap_or_default()))
}

/// A number, as Python has it: whole numbers may stand for floats.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(untagged, expecting = "a hyperparameter isn't a number")]
pub(super) enum Number {
    /// A whole one.
    Whole(i32),
    /// Any.
    Float(f64),
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        match number {
            Number::Whole(value) => value.into(),
            Number::Float(value) => value,
        }
    }
}
