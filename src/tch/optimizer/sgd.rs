//! Stochastic gradient descent.

use tch::Tensor;

use super::super::arithmetic::{add_, mul_};
use super::rule::{Number, Rule, Slots, added, in_range, of_torch, sealed};
use crate::Error;
use crate::tensor::{State, Value};

/// The name of the only slot.
const BUFFER: &str = "momentum_buffer";

/// Python's `torch.optim.SGD`: its hyperparameters, by default its defaults.
///
/// ```
/// use ckpt::tch::Sgd;
/// let nesterov = Sgd::default().with_lr(0.1).with_momentum(0.9).with_nesterov();
/// assert_eq!((nesterov.momentum, nesterov.dampening), (0.9, 0.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// Which part of the last change goes into the next one; 0 keeps none.
    pub momentum: f64,
    /// Which part of a gradient doesn't go into what is kept.
    pub dampening: f64,
    /// How much of the variable is added to its gradient.
    pub weight_decay: f64,
    /// Whether the gradient is taken ahead of the momentum.
    pub nesterov: bool,
    /// Whether the loss is to become larger.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        let [momentum, dampening, weight_decay] = [0.0; 3];
        Self { lr: 1e-3, momentum, dampening, weight_decay, nesterov: false, maximize: false }
    }
}

impl Sgd {
    /// Sets the learning rate.
    #[must_use]
    pub fn with_lr(mut self, lr: f64) -> Self {
        self.lr = lr;
        self
    }

    /// Sets the momentum.
    #[must_use]
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets the dampening.
    #[must_use]
    pub fn with_dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Sets the weight decay.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Takes gradients ahead of the momentum, after Nesterov. It needs a momentum, and no dampening.
    #[must_use]
    pub fn with_nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    /// Makes the loss larger.
    #[must_use]
    pub fn with_maximize(mut self) -> Self {
        self.maximize = true;
        self
    }
}

impl Rule for Sgd {
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
}

/// The entries of a group of Python's, as far as they say how to go on.
#[derive(serde::Deserialize)]
struct Entries {
    lr: Number,
    momentum: Number,
    dampening: Number,
    weight_decay: Number,
    nesterov: bool,
    #[serde(default)]
    maximize: bool,
}

impl sealed::Rule for Sgd {
    fn check(&self) -> Result<(), Error> {
        in_range("the learning rate", self.lr, self.lr >= 0.0)?;
        in_range("the momentum", self.momentum, self.momentum >= 0.0)?;
        in_range("the weight decay", self.weight_decay, self.weight_decay >= 0.0)?;
        if self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0) {
            return Err(Error::usage("Nesterov's method needs a momentum, and no dampening"));
        }
        Ok(())
    }

    /// The operations are those of `_single_tensor_sgd`, in its order: another one would round otherwise.
    fn update(&self, variable: &Tensor, gradient: &Tensor, slots: &mut Slots) -> Result<(), Error> {
        let mut gradient = gradient.shallow_clone();
        if self.maximize {
            gradient = gradient.f_neg().map_err(of_torch)?;
        }
        if self.weight_decay != 0.0 {
            gradient = added(&gradient, variable, self.weight_decay)?;
        }
        if self.momentum != 0.0 {
            let buffer = self.remember(&gradient, slots)?;
            gradient = if self.nesterov { added(&gradient, &buffer, self.momentum)? } else { buffer };
        }
        add_(&mut variable.shallow_clone(), &gradient, -self.lr)
    }

    fn slots(&self) -> Vec<&'static str> {
        if self.momentum == 0.0 { Vec::new() } else { vec![BUFFER] }
    }

    fn entries(&self) -> Vec<(&'static str, Value<'static>)> {
        vec![
            ("lr", self.lr.into()),
            ("momentum", self.momentum.into()),
            ("dampening", self.dampening.into()),
            ("weight_decay", self.weight_decay.into()),
            ("nesterov", self.nesterov.into()),
            ("maximize", self.maximize.into()),
            ("foreach", Value::None),
            ("differentiable", false.into()),
            ("fused", Value::None),
        ]
    }

    fn read(&self, state: &State<'_>, path: &str) -> Result<Self, Error> {
        let entries: Entries = state.decode(path)?;
        Ok(Self {
            lr: entries.lr.into(),
            momentum: entries.momentum.into(),
            dampening: entries.dampening.into(),
            weight_decay: entries.weight_decay.into(),
            nesterov: entries.nesterov,
            maximize: entries.maximize,
        })
    }
}

impl Sgd {
    /// Puts a gradient into the buffer, and returns that.
    fn remember(&self, gradient: &Tensor, slots: &mut Slots) -> Result<Tensor, Error> {
        let Some(mut buffer) = slots.get(BUFFER) else {
            return slots.get_or(BUFFER, || gradient.f_detach_copy());
        };
        mul_(&mut buffer, self.momentum)?;
        add_(&mut buffer, gradient, 1.0 - self.dampening)?;
        Ok(buffer)
    }
}
