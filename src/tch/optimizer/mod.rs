//! Optimizers whose state can be saved: SGD, Adam and `AdamW`.
//!
//! tch hides the state of its own optimizers, and libtorch's in C++ round otherwise than Python's. These here do
//! what `torch.optim` does on its single-tensor path (`foreach=False, fused=False`), operation by operation, so
//! that a run gives the same bits in both languages; their state is what Python's `optimizer.state_dict()` holds,
//! and goes from one to the other.
//!
//! ```
//! use ckpt::State;
//! use ckpt::tch::{Adam, Optimizer};
//! use tch::nn::{self, Module};
//!
//! let store = nn::VarStore::new(tch::Device::Cpu);
//! let layer = nn::linear(store.root() / "layer", 4, 2, Default::default());
//! let mut optimizer = Optimizer::of(&store, Adam::adamw().with_lr(1e-3))?;
//!
//! let loss = layer.forward(&tch::Tensor::ones([1, 4], tch::kind::FLOAT_CPU)).square().sum(tch::Kind::Float);
//! optimizer.backward_step(&loss)?;
//!
//! let mut state = State::new();
//! state.insert("optimizer", optimizer.value()?)?;
//! assert_eq!(state.tensor("optimizer.state.0.exp_avg").map(|it| it.shape()), Some(&[2][..]));
//!
//! // … `ckpt::save`, and some day, for a new optimizer, `ckpt::load` …
//! let mut resumed = Optimizer::of(&store, Adam::adamw())?;
//! resumed.restore(&state, "optimizer")?;
//! assert_eq!(resumed.groups()[0].rule.lr, 1e-3);
//! # Ok::<(), ckpt::Error>(())
//! ```

mod adam;
mod group;
mod rule;
mod sgd;
mod state;

use std::collections::HashSet;

use tch::Tensor;
use tch::nn::VarStore;

use super::ffi;
use crate::Error;

pub use adam::Adam;
pub use group::Group;
pub use rule::Rule;
use rule::of_torch;
pub use sgd::Sgd;
pub(super) use state::Loaded;

/// Groups of variables, each with the rule by which they change.
///
/// See the [module's documentation](self) for an example.
#[derive(Debug)]
pub struct Optimizer<R> {
    groups: Vec<Group<R>>,
}

impl<R: Rule> Optimizer<R> {
    /// Makes an optimizer of all trainable variables of a store: one group, in the order of their names.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::new`].
    pub fn of(store: &VarStore, rule: R) -> Result<Self, Error> {
        Self::new(vec![Group::of(store, rule)])
    }

    /// Makes an optimizer of several groups.
    ///
    /// # Errors
    ///
    /// A hyperparameter is out of its range, two variables have one name, or one has no gradient ever.
    pub fn new(groups: Vec<Group<R>>) -> Result<Self, Error> {
        let mut names = HashSet::new();
        for group in &groups {
            group.rule.check()?;
            for variable in &group.variables {
                let name = variable.name.escape_debug();
                if !names.insert(&variable.name) {
                    return Err(Error::usage(format!("the optimizer has two variables '{name}'")));
                }
                if !variable.tensor.requires_grad() {
                    return Err(Error::usage(format!("variable '{name}' isn't trainable: leave it out")));
                }
            }
        }
        Ok(Self { groups })
    }

    /// Returns the groups.
    pub fn groups(&self) -> &[Group<R>] {
        &self.groups
    }

    /// Returns the rules of all groups, to be changed.
    pub fn rules_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.groups.iter_mut().map(|group| &mut group.rule)
    }

    /// Sets the learning rate of all groups.
    pub fn set_lr(&mut self, lr: f64) {
        self.rules_mut().for_each(|rule| rule.set_lr(lr));
    }

    /// Changes each variable that has a gradient.
    ///
    /// # Errors
    ///
    /// libtorch refuses: a gradient is sparse, or there is no memory. Variables before that one have changed.
    pub fn step(&mut self) -> Result<(), Error> {
        let _no_gradients = tch::no_grad_guard();
        self.groups.iter_mut().try_for_each(Group::step)
    }

    /// Forgets the gradients: until the next backward pass there are none, as after Python's
    /// `zero_grad(set_to_none=True)`.
    ///
    /// # Errors
    ///
    /// libtorch refuses.
    pub fn zero_grad(&mut self) -> Result<(), Error> {
        self.groups
            .iter()
            .flat_map(|group| &group.variables)
            .try_for_each(|it| ffi::clear_gradient(&it.tensor))
    }

    /// Forgets the gradients, takes those of a loss, and changes the variables.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::step`]; or the loss has no gradients.
    pub fn backward_step(&mut self, loss: &Tensor) -> Result<(), Error> {
        self.zero_grad()?;
        loss.f_backward().map_err(of_torch)?;
        self.step()
    }
}
