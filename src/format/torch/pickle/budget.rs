use super::fault::{Step, too_complex};

/// A tree of more nodes than this is refused. It is some 1.6 GB of memory; a checkpoint has one node
/// for each number, string and tensor outside of tensors' data.
const MAX_NODES: usize = 50_000_000;
/// What a pickle may make in any case, in nodes.
const FREE_NODES: usize = 1 << 20;
/// The fewest bytes that a node takes beyond that. A node is 32 bytes of memory, so that what is
/// allocated stays within some twenty times of what is there. The shortest that pickling writes again
/// and again is a small number, two bytes; `None` and truth values are no nodes of their own, and a
/// container of one byte is followed by its memo entry.
const BYTES_PER_NODE: usize = 2;
/// What may be copied in any case, in items or bytes.
const FREE_COPIES: usize = 1 << 20;
/// What may be copied for each byte of the pickle.
const COPIES_PER_BYTE: usize = 8;

/// What a pickle may still have copied.
///
/// Calls copy what they are given (a list into a map, a string into bytes), and a pickle can give the
/// same long list to a million calls. Honest ones copy each thing once.
#[derive(Debug)]
pub(super) struct Budget {
    copies: usize,
    nodes: usize,
}

impl Budget {
    /// The budget of a pickle of this many bytes.
    pub(super) fn for_bytes(bytes: usize) -> Self {
        Self {
            copies: bytes.saturating_mul(COPIES_PER_BYTE).saturating_add(FREE_COPIES),
            nodes: (bytes / BYTES_PER_NODE).saturating_add(FREE_NODES).min(MAX_NODES),
        }
    }

    /// Takes `count` items or bytes from the budget.
    pub(super) fn charge(&mut self, count: usize) -> Step {
        match self.copies.checked_sub(count) {
            Some(left) => {
                self.copies = left;
                Ok(())
            }
            None => too_complex("the pickle copies the same values too often"),
        }
    }

    /// Holds a number of nodes against what the pickle may make.
    pub(super) fn check_nodes(&self, count: usize) -> Step {
        if count > self.nodes {
            return too_complex(format!(
                "the pickle makes more than {} values: too many for its size",
                self.nodes
            ));
        }
        Ok(())
    }
}
