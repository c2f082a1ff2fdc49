use super::fault::{Step, too_complex};

/// A tree of more nodes than this is refused. It is some 1.6 GB of memory; a checkpoint has one node
/// for each number, string and tensor outside of tensors' data.
pub(super) const MAX_NODES: usize = 50_000_000;
/// What may be copied in any case, in items or bytes.
const FREE_COPIES: usize = 1 << 20;
/// What may be copied for each byte of the pickle.
const COPIES_PER_BYTE: usize = 8;

/// What a pickle may still have copied.
///
/// Calls copy what they are given (a list into a map, a string into bytes), and a pickle can give the
/// same long list to a million calls. Honest ones copy each thing once.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// The budget of a pickle of this many bytes.
    pub(super) fn for_bytes(bytes: usize) -> Self {
        Self(bytes.saturating_mul(COPIES_PER_BYTE).saturating_add(FREE_COPIES))
    }

    /// Takes `count` items or bytes from the budget.
    pub(super) fn charge(&mut self, count: usize) -> Step {
        match self.0.checked_sub(count) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => too_complex("the pickle copies the same values too often"),
        }
    }
}
