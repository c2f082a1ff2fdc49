use std::io;

use crate::record::Finding;

/// Why a file could not be read as the format that it has.
///
/// The two are kept apart because they are different verdicts: a finding speaks of the bytes, an
/// I/O error says that the bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// The bytes are wrong, or of no use here.
    #[error("{}", .0.message)]
    Found(Box<Finding>),
    /// The bytes could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Finding> for Flaw {
    fn from(finding: Finding) -> Self {
        Self::Found(Box::new(finding))
    }
}
