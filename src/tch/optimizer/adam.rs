//! Adam, and `AdamW`, which is Adam with another weight decay.

use std::hint::black_box;

use tch::{Device, Kind, TchError, Tensor};

use super::super::arithmetic::{addcdiv_, addcmul_, mul_};
use super::rule::{Number, Rule, STEP, Slots, added, done, in_range, of_torch, sealed};
use crate::Error;
use crate::record::{Code, Finding, Level};
use crate::tensor::{State, Value};

/// The names of the slots as large as their variable.
const MEAN: &str = "exp_avg";
const MEAN_SQUARE: &str = "exp_avg_sq";
const LARGEST_SQUARE: &str = "max_exp_avg_sq";

/// Python's `torch.optim.Adam` and `torch.optim.AdamW`: the hyperparameters.
///
/// ```
/// use ckpt::tch::Adam;
/// let adamw = Adam::adamw().with_lr(3e-4).with_betas(0.9, 0.95).with_weight_decay(0.1);
/// assert!(adamw.decoupled_weight_decay && !Adam::default().decoupled_weight_decay);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// Which part of the mean of gradients stays with each step, and of the mean of their squares.
    pub betas: (f64, f64),
    /// What is added where is divided, against dividing by zero.
    pub eps: f64,
    /// How much of the variable is added to its gradient, or taken off the variable where it is decoupled.
    pub weight_decay: f64,
    /// Whether the largest mean of squares so far is what is divided by.
    pub amsgrad: bool,
    /// Whether the loss is to become larger.
    pub maximize: bool,
    /// Whether weight decay goes past the gradient: this is `AdamW`.
    pub decoupled_weight_decay: bool,
}

impl Default for Adam {
    /// Returns the defaults of `torch.optim.Adam`.
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
            maximize: false,
            decoupled_weight_decay: false,
        }
    }
}

impl Adam {
    /// Returns the defaults of `torch.optim.AdamW`: a weight decay of 0.01, past the gradient.
    pub fn adamw() -> Self {
        Self { weight_decay: 1e-2, decoupled_weight_decay: true, ..Self::default() }
    }

    /// Sets the learning rate.
    #[must_use]
    pub fn with_lr(mut self, lr: f64) -> Self {
        self.lr = lr;
        self
    }

    /// Sets which part of the means stays with each step: of the gradients, and of their squares.
    #[must_use]
    pub fn with_betas(mut self, mean: f64, square: f64) -> Self {
        self.betas = (mean, square);
        self
    }

    /// Sets what is added where is divided.
    #[must_use]
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Sets the weight decay.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Divides by the largest mean of squares so far.
    #[must_use]
    pub fn with_amsgrad(mut self) -> Self {
        self.amsgrad = true;
        self
    }

    /// Makes the loss larger.
    #[must_use]
    pub fn with_maximize(mut self) -> Self {
        self.maximize = true;
        self
    }
}

impl Rule for Adam {
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
}

/// The entries of a group of Python's, as far as they say how to go on.
#[derive(serde::Deserialize)]
struct Entries {
    lr: Number,
    betas: (Number, Number),
    eps: Number,
    weight_decay: Number,
    amsgrad: bool,
    #[serde(default)]
    maximize: bool,
    /// Before PyTorch 2.7 there was none.
    decoupled_weight_decay: Option<bool>,
}

impl sealed::Rule for Adam {
    fn check(&self) -> Result<(), Error> {
        in_range("the learning rate", self.lr, self.lr >= 0.0)?;
        in_range("eps", self.eps, self.eps >= 0.0)?;
        in_range("the first beta", self.betas.0, (0.0..1.0).contains(&self.betas.0))?;
        in_range("the second beta", self.betas.1, (0.0..1.0).contains(&self.betas.1))?;
        in_range("the weight decay", self.weight_decay, self.weight_decay >= 0.0)
    }

    /// The operations are those of `_single_tensor_adam`, in its order: another one would round otherwise.
    fn update(&self, variable: &Tensor, gradient: &Tensor, slots: &mut Slots) -> Result<(), Error> {
        let mut step = slots.get_or(STEP, || Tensor::f_zeros(&[] as &[i64], (Kind::Float, Device::Cpu)))?;
        let means = self.means(variable, slots)?;
        done(step.f_add_scalar_(1.0))?;
        let mut variable = variable.shallow_clone();
        let mut gradient = gradient.shallow_clone();
        if self.maximize {
            gradient = gradient.f_neg().map_err(of_torch)?;
        }
        if self.weight_decay != 0.0 {
            if self.decoupled_weight_decay {
                mul_(&mut variable, 1.0 - self.lr * self.weight_decay)?;
            } else {
                gradient = added(&gradient, &variable, self.weight_decay)?;
            }
        }
        if variable.f_is_complex().map_err(of_torch)? {
            (variable, gradient) = (real(&variable)?, real(&gradient)?);
        }
        let steps = step.f_double_value(&[]).map_err(of_torch)?;
        self.change(&mut variable, &gradient, means, steps)
    }

    fn slots(&self) -> Vec<&'static str> {
        let mut slots = vec![STEP, MEAN, MEAN_SQUARE];
        slots.extend(self.amsgrad.then_some(LARGEST_SQUARE));
        slots
    }

    fn entries(&self) -> Vec<(&'static str, Value<'static>)> {
        vec![
            ("lr", self.lr.into()),
            ("betas", Value::Tuple(vec![self.betas.0.into(), self.betas.1.into()])),
            ("eps", self.eps.into()),
            ("weight_decay", self.weight_decay.into()),
            ("amsgrad", self.amsgrad.into()),
            ("maximize", self.maximize.into()),
            ("foreach", Value::None),
            ("capturable", false.into()),
            ("differentiable", false.into()),
            ("fused", Value::None),
            ("decoupled_weight_decay", self.decoupled_weight_decay.into()),
        ]
    }

    fn read(&self, state: &State<'_>, path: &str) -> Result<Self, Error> {
        let entries: Entries = state.decode(path)?;
        let decoupled = entries.decoupled_weight_decay.unwrap_or(self.decoupled_weight_decay);
        if decoupled != self.decoupled_weight_decay {
            let name = |decoupled| if decoupled { "AdamW" } else { "Adam" };
            let (saved, here) = (name(decoupled), name(self.decoupled_weight_decay));
            let message = format!("the state is of {saved}, and the optimizer {here}");
            return Err(Error::of(
                Finding::incompatible(Code::ValueMismatch, Level::Keys, message).at_key(path),
            ));
        }
        Ok(Self {
            lr: entries.lr.into(),
            betas: (entries.betas.0.into(), entries.betas.1.into()),
            eps: entries.eps.into(),
            weight_decay: entries.weight_decay.into(),
            amsgrad: entries.amsgrad,
            maximize: entries.maximize,
            decoupled_weight_decay: decoupled,
        })
    }
}

/// The means that are kept of a variable's gradients; of complex ones, as pairs of real numbers.
struct Means {
    gradient: Tensor,
    square: Tensor,
    largest_square: Option<Tensor>,
}

impl Adam {
    /// Returns the means beside a variable: zeros at first.
    fn means(&self, variable: &Tensor, slots: &mut Slots) -> Result<Means, Error> {
        let mut slot =
            |name| slots.get_or(name, || variable.f_zeros_like()).and_then(|it| real_if_complex(&it));
        Ok(Means {
            gradient: slot(MEAN)?,
            square: slot(MEAN_SQUARE)?,
            largest_square: if self.amsgrad { Some(slot(LARGEST_SQUARE)?) } else { None },
        })
    }

    /// Moves the means, and changes the variable by them.
    fn change(
        &self,
        variable: &mut Tensor,
        gradient: &Tensor,
        means: Means,
        steps: f64,
    ) -> Result<(), Error> {
        let Means { gradient: mut mean, mut square, largest_square } = means;
        let (beta1, beta2) = self.betas;
        done(mean.f_lerp_(gradient, 1.0 - beta1))?;
        mul_(&mut square, beta2)?;
        addcmul_(&mut square, gradient, gradient, 1.0 - beta2)?;
        if let Some(mut largest) = largest_square {
            largest.f_maximum(&square).and_then(|larger| largest.f_copy_(&larger)).map_err(of_torch)?;
            square = largest;
        }
        let step_size = self.lr / (1.0 - beta1.powf(steps));
        // Python's `** 0.5` is the C library's `pow`. The compiler would make it a `sqrt`, whose last bit
        // may be another.
        let correction = (1.0 - beta2.powf(steps)).powf(black_box(0.5));
        let divisor = || square.f_sqrt()?.f_div_scalar(correction)?.f_add_scalar_(self.eps);
        let divisor: Result<Tensor, TchError> = divisor();
        addcdiv_(variable, &mean, &divisor.map_err(of_torch)?, -step_size)
    }
}

fn real(tensor: &Tensor) -> Result<Tensor, Error> {
    tensor.f_view_as_real().map_err(of_torch)
}

fn real_if_complex(tensor: &Tensor) -> Result<Tensor, Error> {
    if tensor.f_is_complex().map_err(of_torch)? { real(tensor) } else { Ok(tensor.shallow_clone()) }
}
