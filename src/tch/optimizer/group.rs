//! Variables that change by the same rule.

use tch::Tensor;
use tch::nn::VarStore;

use super::rule::{Rule, Slots};
use crate::Error;

/// Variables by name, and the hyperparameters that they share.
///
/// ```
/// use ckpt::tch::{Adam, Group, Optimizer};
/// use tch::nn;
///
/// let store = nn::VarStore::new(tch::Device::Cpu);
/// let _layer = nn::linear(store.root() / "layer", 4, 2, Default::default());
/// let adamw = Adam::adamw();
/// let optimizer = Optimizer::new(vec![
///     Group::matching(&store, adamw, |name| name.ends_with("weight")),
///     Group::matching(&store, adamw.with_weight_decay(0.0), |name| name.ends_with("bias")),
/// ])?;
/// assert_eq!(optimizer.groups()[1].names().collect::<Vec<_>>(), ["layer.bias"]);
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Debug)]
pub struct Group<R> {
    /// The hyperparameters.
    pub rule: R,
    pub(super) variables: Vec<Variable>,
}

/// A variable, and what is kept beside it.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) tensor: Tensor,
    pub(super) slots: Slots,
}

impl<R: Rule> Group<R> {
    /// Makes a group of variables, in this order. To exchange states with a Python optimizer that was made without
    /// names, it is the order there.
    pub fn new<N: Into<String>>(rule: R, variables: impl IntoIterator<Item = (N, Tensor)>) -> Self {
        let variable =
            |(name, tensor): (N, Tensor)| Variable { name: name.into(), tensor, slots: Slots::default() };
        Self { rule, variables: variables.into_iter().map(variable).collect() }
    }

    /// Makes a group of all trainable variables of a store, in the order of their names.
    pub fn of(store: &VarStore, rule: R) -> Self {
        Self::matching(store, rule, |_| true)
    }

    /// Makes a group of those trainable variables of a store whose names are chosen.
    pub fn matching(store: &VarStore, rule: R, chosen: impl Fn(&str) -> bool) -> Self {
        let trainable = store.variables().into_iter().filter(|(name, it)| it.requires_grad() && chosen(name));
        let mut variables: Vec<_> = trainable.collect();
        variables.sort_by(|one, other| one.0.cmp(&other.0));
        Self::new(rule, variables)
    }

    /// Returns the names of the variables, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.name.as_str())
    }

    /// Changes each variable that has a gradient.
    pub(super) fn step(&mut self) -> Result<(), Error> {
        for Variable { name, tensor, slots } in &mut self.variables {
            let gradient = tensor.grad();
            if !gradient.defined() {
                continue;
            }
            if gradient.is_sparse() {
                let name = name.escape_debug();
                return Err(Error::usage(format!("variable '{name}': the gradient is sparse: `to_dense()`")));
            }
            self.rule.update(tensor, &gradient, slots)?;
        }
        Ok(())
    }
}
