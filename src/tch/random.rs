//! The states of libtorch's random generators.

use tch::Cuda;

use super::ffi;
use crate::tensor::{Node, State, TensorView, Value};
use crate::{Dtype, Error};

/// The states of libtorch's default generators: the host's, and each CUDA device's.
///
/// They are the bytes that Python's `torch.get_rng_state()` and `torch.cuda.get_rng_state_all()` return, and in
/// a state they stand as those would: a map of `cpu`, a tensor of bytes, and `cuda`, a list of such tensors.
/// Generators of other crates (`rand`) are values of their own.
///
/// ```
/// use ckpt::tch::RandomState;
/// use tch::{Tensor, kind};
///
/// let random = RandomState::capture()?;
/// let first = Tensor::randn([3], kind::FLOAT_CPU);
/// random.restore()?;
/// assert_eq!(first, Tensor::randn([3], kind::FLOAT_CPU));
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomState {
    cpu: Vec<u8>,
    cuda: Vec<Vec<u8>>,
}

impl RandomState {
    /// Takes the states as they are.
    ///
    /// # Errors
    ///
    /// libtorch refuses: there is a CUDA device that can't be used.
    pub fn capture() -> Result<Self, Error> {
        let cpu = ffi::generator_state(ffi::CPU, -1)?;
        let cuda = cuda_devices().map(|index| ffi::generator_state(ffi::CUDA, index));
        Ok(Self { cpu, cuda: cuda.collect::<Result<_, _>>()? })
    }

    /// Finds the states in a loaded state, at the path where they were put.
    ///
    /// # Errors
    ///
    /// There is no map with `cpu` at the path, or its bytes can't be read.
    pub fn from_state(state: &State<'_>, path: &str) -> Result<Self, Error> {
        let cpu = bytes(state, &format!("{path}.cpu"))?;
        let count = match state.value(&format!("{path}.cuda")) {
            Some(Node::List(list)) => list.len(),
            _ => 0,
        };
        let cuda = (0..count).map(|index| bytes(state, &format!("{path}.cuda.{index}")));
        Ok(Self { cpu, cuda: cuda.collect::<Result<_, _>>()? })
    }

    /// Returns how many CUDA devices the states are of.
    pub fn cuda_devices(&self) -> usize {
        self.cuda.len()
    }

    /// Sets all generators to these states, or none.
    ///
    /// # Errors
    ///
    /// There are more or fewer CUDA devices than the states are of ([`RandomState::restore_common`] doesn't
    /// mind), or libtorch refuses a state.
    pub fn restore(&self) -> Result<(), Error> {
        let here = cuda_devices().count();
        if here != self.cuda.len() {
            return Err(Error::usage(format!(
                "the random state is of {} CUDA devices, and there are {here}: `restore_common` sets the \
                 generators that are on both sides",
                self.cuda.len()
            )));
        }
        self.restore_common()
    }

    /// Sets the generators that are on both sides, or none. Others stay as they are, so that what they draw
    /// isn't what it would have been.
    ///
    /// # Errors
    ///
    /// libtorch refuses a state.
    pub fn restore_common(&self) -> Result<(), Error> {
        let before = Self::capture()?;
        let set = self.set();
        if set.is_err() {
            before.set()?;
        }
        set
    }

    fn set(&self) -> Result<(), Error> {
        ffi::set_generator_state(ffi::CPU, -1, &self.cpu)?;
        let mut devices = cuda_devices().zip(&self.cuda);
        devices.try_for_each(|(index, state)| ffi::set_generator_state(ffi::CUDA, index, state))
    }
}

impl From<RandomState> for Value<'_> {
    fn from(random: RandomState) -> Self {
        let tensor = |bytes: Vec<u8>| {
            let view = TensorView::new(Dtype::U8, [bytes.len() as u64], bytes);
            // As many elements as bytes always fit.
            view.map_or(Self::None, Self::from)
        };
        let cuda = random.cuda.into_iter().map(tensor).collect();
        Self::from_iter([("cpu", tensor(random.cpu)), ("cuda", Self::List(cuda))])
    }
}

/// Returns the indices of the CUDA devices.
fn cuda_devices() -> impl Iterator<Item = i8> {
    let count = if Cuda::is_available() { Cuda::device_count() } else { 0 };
    0..i8::try_from(count).unwrap_or(i8::MAX)
}

fn bytes(state: &State<'_>, path: &str) -> Result<Vec<u8>, Error> {
    let tensor = state.tensor(path).filter(|tensor| tensor.dtype() == Dtype::U8);
    let tensor = tensor.ok_or_else(|| {
        Error::usage(format!("the state has no random state at '{path}': a tensor of bytes should be there"))
    })?;
    Ok(tensor.bytes()?.into_owned())
}
