//! In-place arithmetic with a factor, which tch's own functions lack.
//!
//! Optimizers are made of these. They run without gradients, and round as Python's functions of the same names
//! do: they are the same functions.

use tch::Tensor;

use super::ffi;
use crate::Error;

/// Adds `alpha * other`: Python's `target.add_(other, alpha=alpha)`.
///
/// ```
/// use tch::Tensor;
/// let mut weight = Tensor::from_slice(&[1.0_f32, 2.0]);
/// ckpt::tch::arithmetic::add_(&mut weight, &Tensor::from_slice(&[4.0_f32, 8.0]), -0.5)?;
/// assert_eq!(weight, Tensor::from_slice(&[-1.0_f32, -2.0]));
/// # Ok::<(), ckpt::Error>(())
/// ```
///
/// # Errors
///
/// The shapes, dtypes or devices don't fit one another.
pub fn add_(target: &mut Tensor, other: &Tensor, alpha: f64) -> Result<(), Error> {
    ffi::add(target, other, alpha)
}

/// Multiplies by a number: Python's `target.mul_(factor)`, which rounds once, where tch's `g_mul_scalar_` rounds the
/// factor of a tensor of 16 bits too.
///
/// # Errors
///
/// The tensor's dtype has no such product.
pub fn mul_(target: &mut Tensor, factor: f64) -> Result<(), Error> {
    ffi::mul(target, factor)
}

/// Adds `value * one * two`: Python's `target.addcmul_(one, two, value=value)`.
///
/// # Errors
///
/// The shapes, dtypes or devices don't fit one another.
pub fn addcmul_(target: &mut Tensor, one: &Tensor, two: &Tensor, value: f64) -> Result<(), Error> {
    ffi::addcmul(target, one, two, value)
}

/// Adds `value * one / two`: Python's `target.addcdiv_(one, two, value=value)`.
///
/// # Errors
///
/// The shapes, dtypes or devices don't fit one another.
pub fn addcdiv_(target: &mut Tensor, one: &Tensor, two: &Tensor, value: f64) -> Result<(), Error> {
    ffi::addcdiv(target, one, two, value)
}
