use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use super::pickle::Pickle;
use crate::format::Flaw;
use crate::format::read_vec;
use crate::format::zip::{Entry, inflate_to_memory};
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level, TensorInfo, first_few, quoted};
use crate::tensor::{Body, Storage, StorageId, Tensor, Tree, WalkError, gather, swap};

/// A PyTorch checkpoint whose structure was read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The values.
    pub tree: Tree,
    /// Where the data of each of the tree's storages lies, in the same order.
    pub data: Vec<StorageData>,
    /// Whether the data is big-endian.
    pub big_endian: bool,
    /// What is to be said of the pickle: names outside the list, what PyTorch refuses, devices.
    pub findings: Vec<Finding>,
}

/// Where a storage's data lies.
#[derive(Clone, Debug)]
pub enum StorageData {
    /// In the file, as it is.
    At(Range<u64>),
    /// In the file, deflated.
    Deflated(Box<Entry>),
    /// In another storage of the tree.
    PartOf(StorageId, u64),
    /// Nowhere: the file is damaged.
    Missing,
}

impl Checkpoint {
    /// Takes up what was read. `data` has one place for each storage of the pickle's tree; `vouched` says
    /// that a checksum covers the pickle.
    pub(super) fn new(pickle: Pickle, data: Vec<StorageData>, big_endian: bool, vouched: bool) -> Self {
        let findings = notes(&pickle, vouched);
        Self { tree: pickle.tree, data, big_endian, findings }
    }

    /// The finding for a name outside the list.
    pub(crate) fn needs_trust(global: &str) -> Finding {
        let message = format!(
            "it asks for {}, which isn't on the list of safe names: unsafe to load elsewhere",
            quoted(global)
        );
        Finding::incompatible(Code::NeedsTrust, Level::Load, message)
    }

    /// Returns every tensor with the keys that lead to it, a shared one at every place.
    ///
    /// # Errors
    ///
    /// See [`Tree::tensor_infos`].
    pub fn tensors(&self) -> Result<Vec<TensorInfo>, WalkError> {
        self.tree.tensor_infos()
    }

    /// Reads a strided tensor's elements: row-major, without gaps, little-endian.
    ///
    /// Nothing is allocated beyond `limit` bytes and those that the storage has in the file: an expanded
    /// tensor, or a deflated storage, can be far larger. `None` for a tensor that has no elements of its
    /// own, or that is larger.
    pub fn read_tensor(
        &self,
        source: &dyn ReadAt,
        tensor: &Tensor,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Flaw> {
        let Body::Strided { storage, .. } = &tensor.body else { return Ok(None) };
        let Some(bytes) = tensor.len_bytes() else { return Ok(None) };
        if bytes > limit || self.inflated(*storage) > limit {
            return Ok(None);
        }
        let mut data = self.read_storage(source, *storage)?;
        if self.big_endian {
            swap(&mut data, tensor.dtype);
        }
        Ok(gather(&data, tensor))
    }

    /// How large a deflated storage becomes; 0 for one that is stored as it is.
    fn inflated(&self, id: StorageId) -> u64 {
        match self.data.get(id.0 as usize) {
            Some(StorageData::Deflated(entry)) => entry.size,
            _ => 0,
        }
    }

    /// Reads a storage's bytes as they are in the file.
    pub fn read_storage(&self, source: &dyn ReadAt, id: StorageId) -> Result<Vec<u8>, Flaw> {
        match self.data.get(id.0 as usize) {
            Some(StorageData::At(range)) => Ok(read_vec(source, range.clone())?),
            Some(StorageData::Deflated(entry)) => inflate_to_memory(source, entry),
            Some(StorageData::PartOf(whole, start)) => {
                let bytes = self.tree.storage(id).map_or(0, |storage| storage.bytes);
                let mut data = match self.data.get(whole.0 as usize) {
                    Some(StorageData::At(range)) => read_vec(source, range.clone())?,
                    _ => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                };
                let start = usize::try_from(*start).unwrap_or(usize::MAX).min(data.len());
                data.drain(..start);
                data.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
                Ok(data)
            }
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

/// The findings for names outside the list: the first few, since a pickle can hold a million of them.
pub(super) fn unsafe_names(names: &[String]) -> Vec<Finding> {
    let finding = |name: &String| Checkpoint::needs_trust(name);
    first_few(names, finding, "names aren't on the list of safe ones")
}

/// What a user should know of a pickle that could be read.
fn notes(pickle: &Pickle, vouched: bool) -> Vec<Finding> {
    let mut findings = unsafe_names(&pickle.unknown_globals);
    if let (Some(first), false) = (findings.first_mut(), vouched) {
        first.message.push_str("; no checksum vouches for these bytes, so that it may be damage as well");
    }
    for global in &pickle.allowed_globals {
        let message =
            format!("'{}' was allowed by name and read as data; nothing was executed", global.escape_debug());
        findings.push(Finding::note(Code::GlobalAllowed, Level::Load, message));
    }
    let beyond = pickle.beyond_torch.clone();
    let beyond = beyond.or_else(|| Some(format!("the global '{}'", pickle.allowed_globals.first()?)));
    if let Some(what) = beyond {
        let message =
            format!("read as data, but PyTorch's own safe reader (weights_only=True) refuses it: {what}");
        findings.push(Finding::note(Code::TorchRefuses, Level::Load, message));
    }
    findings.extend(device_note(pickle.tree.storages()));
    findings
}

/// Says that tensors come from devices other than the CPU: `torch.load` puts them back there, and fails on a
/// machine that hasn't such a device.
fn device_note(storages: &[Storage]) -> Option<Finding> {
    let devices: BTreeSet<_> = storages
        .iter()
        .map(|storage| storage.device.as_str())
        .filter(|device| !matches!(*device, "cpu" | "meta"))
        .collect();
    if devices.is_empty() {
        return None;
    }
    let names: Vec<_> = devices.into_iter().take(8).map(|device| device.escape_debug().to_string()).collect();
    let message =
        format!("tensors were saved from {}: loading elsewhere needs map_location", names.join(", "));
    Some(Finding::note(Code::DeviceTag, Level::Load, message))
}
