//! The door through which the tensors of a framework come.

use super::{Data, TensorView};
use crate::{Dtype, Error};

/// A tensor of some framework.
///
/// This is all that a state has to know of it; the adapters (`tch`, `candle`, `burn`) implement it, and so can
/// anybody.
///
/// ```
/// use ckpt::tensor::{Data, TensorSource};
/// use ckpt::{Dtype, Error, State};
///
/// /// Somebody's tensor.
/// struct Row(Vec<u8>);
///
/// impl TensorSource for Row {
///     fn dtype(&self) -> Result<Dtype, Error> {
///         Ok(Dtype::U8)
///     }
///     fn shape(&self) -> Vec<u64> {
///         vec![1, self.0.len() as u64]
///     }
///     fn data(&self) -> Result<Data<'_>, Error> {
///         Ok(self.0.as_slice().into())
///     }
/// }
///
/// let row = Row(vec![1, 2, 3]);
/// let mut state = State::new();
/// state.insert("row", row.view()?)?;
/// # Ok::<(), Error>(())
/// ```
pub trait TensorSource {
    /// Returns the type of the elements.
    ///
    /// # Errors
    ///
    /// The framework has a type that checkpoints have not.
    fn dtype(&self) -> Result<Dtype, Error>;

    /// Returns the length of each dimension.
    fn shape(&self) -> Vec<u64>;

    /// Returns the elements, little-endian and row-major, without gaps: borrowed where they lie in memory like
    /// that.
    ///
    /// # Errors
    ///
    /// The elements can't be had.
    fn data(&self) -> Result<Data<'_>, Error>;

    /// Returns the tensor as what a [`State`](super::State) takes.
    ///
    /// # Errors
    ///
    /// As the other methods; or they don't fit one another.
    fn view(&self) -> Result<TensorView<'_>, Error> {
        TensorView::new(self.dtype()?, self.shape(), self.data()?)
    }
}
