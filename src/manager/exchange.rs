use std::fmt;

use crate::Error;

/// How the processes of one job talk to one another, so that all of them resume from the same checkpoint.
///
/// The contract is with [`resume_together`](super::resume_together): every process makes the same calls in the same
/// order, and a call returns when all others have made it as well. What `torch.distributed`, MPI or NCCL are asked
/// for takes a few lines each.
///
/// A process that is gone must become an error of the others' calls, as by a time limit: nothing here waits for
/// it in another way.
///
/// ```
/// use ckpt::Error;
/// use ckpt::manager::Exchange;
///
/// /// A job of one process.
/// #[derive(Debug)]
/// struct Alone;
///
/// impl Exchange for Alone {
///     fn rank(&self) -> usize {
///         0
///     }
///     fn broadcast(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
///         Ok(message.to_vec())
///     }
///     fn all_agree(&self, yes: bool) -> Result<bool, Error> {
///         Ok(yes)
///     }
/// }
/// ```
pub trait Exchange: fmt::Debug {
    /// Returns the number of this process; the one of number 0 decides.
    fn rank(&self) -> usize;

    /// Returns in every process the message of the one of rank 0; what others give is ignored.
    ///
    /// # Errors
    ///
    /// The others can't be reached.
    fn broadcast(&self, message: &[u8]) -> Result<Vec<u8>, Error>;

    /// Returns in every process whether all of them said yes.
    ///
    /// # Errors
    ///
    /// The others can't be reached.
    fn all_agree(&self, yes: bool) -> Result<bool, Error>;
}
