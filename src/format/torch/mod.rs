//! What `torch.save` writes, in all its ages; and a writer of its present one.
//!
//! The only room that knows pickles; nothing here executes one. `archive` reads the ZIP archives of
//! PyTorch 1.6 and later, `recover` what is left of one that is damaged, `legacy` the five pickles of before. All give a [`Checkpoint`]: the values
//! as a [`Tree`], and where the data of each storage lies. [`encode`] makes an archive of
//! a [`State`](crate::tensor::State) that proves itself.

pub mod archive;
mod checkpoint;
pub mod legacy;
mod options;
pub mod pickle;
mod proof;
mod recover;
mod tar;
#[cfg(test)]
mod tests;
mod write;

pub use checkpoint::{Checkpoint, StorageData};
pub use options::ReadOptions;
pub use proof::PROOF_RECORD;
pub(crate) use recover::{Recovered, recover};
pub(crate) use tar::{is_tar, is_torch_tar};
pub(crate) use write::check_flat_tensor;
pub use write::{Flavour, Pickled, TorchEncoding, encode, encode_pickled};

use crate::record::{Code, Finding, Level};
use crate::tensor::Tree;
pub(crate) use pickle::write::unfit;
use pickle::{Fault, FaultKind};

/// Returns what a plain pickle asks for that isn't on the list of safe names, as findings.
///
/// Such a file is no checkpoint, but loading it executes it: who meets one should know.
pub(crate) fn unsafe_names(bytes: &[u8], options: &ReadOptions) -> Vec<Finding> {
    let names = match pickle::read(bytes, options) {
        Ok(pickle) => pickle.unknown_globals,
        Err(fault) => fault.unknown_globals,
    };
    checkpoint::unsafe_names(&names)
}

/// Reads a pickle that stands beside tensors and describes them, as data. What it asks for must be on the list of
/// safe names, or one of `names`, or of those that the options accept. Protocols 4 and 5 are read as the others.
///
/// No checksum vouches for such bytes, so that damage is the likelier cause of what can't be read.
///
/// # Errors
///
/// The finding for a pickle that is damaged, too large for its size, or asks for another name; bytes behind its
/// end are damage as well.
pub(crate) fn read_description(
    bytes: &[u8],
    names: &[&str],
    options: &ReadOptions,
) -> Result<Tree, Box<Finding>> {
    let options = options.clone().with_allowed_globals(names.iter().map(|&name| name.to_owned()));
    let pickle = pickle::read(bytes, &options).map_err(|fault| Box::new(fault_finding(&fault, false)))?;
    if let Some(finding) = checkpoint::unsafe_names(&pickle.unknown_globals).into_iter().next() {
        return Err(Box::new(finding));
    }
    if pickle.bytes < bytes.len() as u64 {
        let message = format!("{} bytes follow the end of the pickle", bytes.len() as u64 - pickle.bytes);
        return Err(Box::new(Finding::corrupted(Code::PickleDamaged, Level::Load, message)));
    }
    Ok(pickle.tree)
}

/// Turns a pickle's fault into a finding.
///
/// Where a checksum vouches for the pickle's bytes (`vouched`), they are as the writer wrote them, and
/// what can't be read is no damage. Without one, damage is the likelier cause.
///
/// A pickle whose bytes are as written and that asks for unsafe names is to be told by that, whatever
/// else is wrong with it: breaking off is how some attacks hide from scanners.
fn fault_finding(fault: &Fault, vouched: bool) -> Finding {
    if let (Some(global), true) = (fault.unknown_globals.first(), vouched) {
        let mut finding = Checkpoint::needs_trust(global);
        finding.message = format!("{}; and {fault}", finding.message);
        return finding;
    }
    let (code, message) = match fault.kind {
        FaultKind::TooComplex => (Code::TooComplex, fault.to_string()),
        FaultKind::Tensor => (Code::TensorOutOfBounds, fault.to_string()),
        FaultKind::Unsupported => (Code::PickleInvalid, fault.to_string()),
        FaultKind::Truncated | FaultKind::Invalid if vouched => {
            (Code::PickleInvalid, format!("{fault}; its checksum is right, so it was written this way"))
        }
        FaultKind::Truncated | FaultKind::Invalid => (Code::PickleDamaged, fault.to_string()),
    };
    let well_formed = matches!(fault.kind, FaultKind::TooComplex | FaultKind::Unsupported);
    if vouched || well_formed {
        Finding::incompatible(code, Level::Load, message)
    } else {
        Finding::corrupted(code, Level::Load, message)
    }
}
